"""What it takes to run Engram somewhere: the launcher of a local Kafka and Redis, images, manifests, dashboards."""
