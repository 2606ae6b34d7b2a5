"""Print the events of all cameras, with kafka-python alone: ``python consume_events.py HOST:PORT [GROUP] [PREFIX]``."""

import json
import sys

from kafka import KafkaConsumer

servers, group, prefix = (*sys.argv[1:], *("localhost:9092", "example", "")[len(sys.argv) - 1 :])
consumer = KafkaConsumer(
    f"{prefix}anomaly-events",
    bootstrap_servers=servers,
    group_id=group,  # goes on where it stopped
    auto_offset_reset="earliest",
    enable_auto_commit=False,
    isolation_level="read_committed",  # else it sees what a worker that died took back
)
seen: dict[str, None] = {}
for record in consumer:
    try:
        event = json.loads(record.value)
        identity, kind, data = f"{event['source']} {event['id']}", str(event["type"]), event["data"]
        line = (event["time"], data["camera_id"], data["phase"], data.get("severity"), data["peak"]["anomaly_score"])
    except (ValueError, KeyError, TypeError, AttributeError):
        continue  # not one of ours
    if kind.startswith("dev.engram.anomaly.") and kind.endswith(".v1") and identity not in seen:  # else: told before
        print(*line, flush=True)
        seen[identity] = None
        if len(seen) > 10_000:
            del seen[next(iter(seen))]
    consumer.commit()
