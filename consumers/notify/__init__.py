"""Telling people and houses of events: rules, quiet times, webhooks, MQTT with Home Assistant's discovery."""
