"""Kinds of job made for the tests; they go through the registry that real ones go through."""

from explorer.kinds import Kind, Queue, register

register(
    Kind("test_count", "Count", Queue.BATCH, "tests.bodies.count"),
    Kind("test_parts", "Count in parts", Queue.BATCH, "tests.bodies.add_up", plan="tests.bodies.plan_parts"),
    Kind("test_part", "One part", Queue.BATCH, "tests.bodies.part"),
    Kind("test_open", "Open an SAE", Queue.BATCH, "tests.bodies.open_sae"),
    Kind("test_stream", "Stream", Queue.INTERACTIVE, "tests.bodies.stream"),
    Kind("test_watched", "Watched stream", Queue.INTERACTIVE, "tests.bodies.stream", watched=True),
    Kind("test_die", "Die", Queue.BATCH, "tests.bodies.die"),
    Kind("test_fail", "Fail", Queue.BATCH, "tests.bodies.fail"),
    Kind("test_refuse", "Refuse", Queue.BATCH, "tests.bodies.refuse"),
    Kind("test_deaf", "Work without looking up", Queue.BATCH, "tests.bodies.deaf"),
)
