"""What a running process shows of itself over HTTP: metrics, health, status. Counts nothing twice."""
