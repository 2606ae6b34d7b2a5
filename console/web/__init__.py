"""The pages and the REST interface of the console, and who may see them."""
