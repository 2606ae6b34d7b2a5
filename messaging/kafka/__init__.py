"""The Kafka adapter of ``messaging.ports``, on kafka-python 3.0.12 with remedies for the faults of that version.

The remedies, each with a test in ``tests/integration/messaging``:

* One thread owns the consumer and polls it without pause (``poller``): a join that ends between two polls is
  thrown away.
* Range assignment, which takes all partitions away at each rebalance: claims and the group generation they belong to
  change together, so a commit can never pair an old claim with a new generation.
* The frame publisher is not idempotent, with one request in flight (``publisher``): the idempotent one falls silent
  for ever after a stall longer than its delivery timeout. A lost acknowledgement may repeat a frame; workers drop
  repeats by frame index.
* An outbox looks at the fate of every record before it commits (``outbox``): the client would commit a transaction
  that has lost records, and its flush fails where it had to split a batch for size. It throws its producer away after
  any error: a used one would carry offsets over from a failed transaction into the next.
* Attempts at a record are counted in the metadata of committed offsets (``attempts``), so what kills one worker does
  not kill each of its successors.
* A position out of range is told as loss (``poller``): the client would start elsewhere without a word.
* No deserializers, and fetches are read by our own code (``decoding``), which is total: the client would spin for ever
  on a header name that is not UTF-8 or a codec it lacks. Fetches without a whole batch are stepped over (``corrupt``).
* A poll thread that does not come round is noticed by whoever receives (``inbox``): the process ends and is started
  again, instead of holding its partitions for ever.
* A transactional id is made of topics, group and writer (``bus``): sites that share a cluster do not fence each other.
"""
