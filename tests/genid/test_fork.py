"""Columns in a process that was forked: ids, and never a wait for threads that are gone."""

import subprocess
import sys

import pytest

pytest.importorskip("genid.arrow")

#: Begins every script: enough rows for the engine, and a child that must end by itself.
START = """
import os, signal
import pyarrow as pa
from genid import Draft, arrow

ROWS = 40_000
numbers = range(ROWS)
drafts = pa.table({
    "combo_id": [f"c{at}" for at in numbers], "template_id": ["t"] * ROWS,
    "llm_model_id": ["m"] * ROWS, "replicate": pa.array([1] * ROWS, pa.int32()),
})

def in_child(work):
    pid = os.fork()
    if pid == 0:
        signal.alarm(60)  # the end of a child that hangs
        status = 1
        try:
            status = 0 if work() else 2
        finally:
            os._exit(status)
    assert (pid, 0) == os.waitpid(pid, 0)
"""

SCRIPTS = {
    "after the engine was used": """
expected = arrow.gen_ids(drafts, Draft)
in_child(lambda: arrow.gen_ids(drafts, Draft) == expected)
assert arrow.gen_ids(drafts, Draft) == expected
""",
    "before the engine was used": """
in_child(lambda: len(arrow.gen_ids(drafts, Draft)) == ROWS)
assert ROWS == len(arrow.gen_ids(drafts, Draft))
""",
    "of a child": """
expected = arrow.gen_ids(drafts, Draft)
in_child(lambda: in_child(lambda: arrow.gen_ids(drafts, Draft) == expected) is None)
""",
    "while other threads derive": """
import threading
expected = arrow.gen_ids(drafts, Draft)
done = threading.Event()
def derive():
    while not done.is_set():
        arrow.gen_ids(drafts, Draft)
threads = [threading.Thread(target=derive) for _ in range(2)]
for thread in threads:
    thread.start()
for _ in range(5):
    in_child(lambda: arrow.gen_ids(drafts, Draft) == expected)
done.set()
for thread in threads:
    thread.join()
""",
    "without asking the engine": """
expected = arrow.gen_ids(drafts, Draft)
def without_engine():
    arrow.ids.__globals__["_by_engine"] = None
    return arrow.gen_ids(drafts, Draft) == expected
in_child(without_engine)
""",
    "by multiprocessing, with every function": """
from multiprocessing import get_context
def all_of_them(_):
    added = arrow.add_gen_id(drafts, Draft)["gen_id"]
    chained = arrow.chain((Draft, drafts))[0]["gen_id"]
    return added.to_pylist(), chained.to_pylist(), arrow.bad_rows(drafts, Draft).true_count
expected = all_of_them(0)
with get_context("fork").Pool(2) as pool:
    assert [expected] * 3 == pool.map_async(all_of_them, range(3)).get(60)
""",
    "after somebody else used DataFusion": """
from datafusion import SessionContext
SessionContext().sql("select 1").collect()
in_child(lambda: len(arrow.gen_ids(drafts, Draft)) == ROWS)
""",
}


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_forked_process_derives_ids(name: str) -> None:
    """The ids of the parent, whichever process used the engine first; the parent goes on."""
    command = [sys.executable, "-W", "error", "-c", START + SCRIPTS[name]]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert (0, "") == (done.returncode, done.stderr)
