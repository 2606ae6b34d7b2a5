"""Pictures and clips of events: found in the frames topic, made, kept in a store, told of."""
