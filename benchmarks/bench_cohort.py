"""The cohort build: planning, a first build, and a rebuild that has nothing to do.

The tables come to 400 rows a combo: 4 drafts, 12 essays, 384 evaluations.
"""

import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from benchmarks.harness import Case, Figure, Size, apart
from benchmarks.walks import stat_all
from genid import Draft, Essay, Evaluation, Grid
from genid_store.catalog.memberships import dump_membership
from genid_store.catalog.reader import DirectReader
from genid_store.cohort.build import Options, build_cohort
from genid_store.cohort.inputs.combos import read_selected
from genid_store.cohort.inputs.selection import Selection
from genid_store.cohort.inputs.tables import read_tables
from genid_store.cohort.planning.plan import plan_cohort
from genid_store.cohort.planning.records import Inputs
from genid_store.cohort.seeding import members_of, metadata_bytes
from genid_store.fs.files import write_atomic
from genid_store.fs.layout import DataRoot
from genid_store.ids.rollout import Rollout

COMBOS = {"short": 5, "full": 51, "long": 250}  # 2,000, 20,400 and 100,000 rows
OPTIONS = Options(rollout=Rollout.parse("on"), cohort_id="bench")


def cases(size: Size) -> Iterator[Case | Figure]:
    """Yield the ratios, on a tmpfs where there is one; the memory of 100,000 rows as well,
    except in the short run."""
    with tempfile.TemporaryDirectory(dir=memory_folder()) as folder:
        root = make_root(Path(folder, "root"), COMBOS[size])
        inputs = read_inputs(root)
        view = DirectReader(root)
        rows = plan_cohort(inputs, view).rows
        files = {f"{row.stage}/{row.gen_id}": metadata_bytes(row) for row in rows}
        membership = dump_membership(members_of(rows))
        yield Case(
            name="planning",
            peer_name="Grid deriving the same ids",
            ours=lambda: plan_cohort(inputs, view),
            peer=lambda: derive(inputs),
            better="cost",
            goal=1.5,
            bound=2.0,
            items=len(rows),
            rounds=15,
        )
        yield Case(
            name="first build",
            peer_name="the same files made bare by the same steps",
            ours=lambda: build_cohort(root, OPTIONS),
            peer=lambda: make_bare(root, files, membership),
            before=lambda: unbuild(root),
            better="cost",
            goal=1.3,
            bound=1.9,
            items=len(rows),
            rounds=5,
        )
        unbuild(root)
        build_cohort(root, OPTIONS)
        yield Case(
            name="rebuild with nothing to do",
            peer_name="planning, scandir of the stages and a stat of each metadata file",
            ours=lambda: build_cohort(root, OPTIONS),
            peer=lambda: (plan_cohort(inputs, view), stat_all(root)),
            better="cost",
            goal=1.3,
            bound=2.5,
            items=len(rows),
            rounds=7,
        )
    if size != "short":
        yield Figure(
            name="memory of planning and building 100,000 rows",
            unit="MB",
            measure=peak_megabytes,
            goal=200,
            bound=400,
        )


def memory_folder() -> str | None:
    """Return a folder on a tmpfs, None where there is none."""
    return "/dev/shm" if os.path.isdir("/dev/shm") else None


def make_root(path: Path, combos: int) -> DataRoot:
    """Write the tables of a cohort of 400 rows for each of `combos` combos."""
    tables = {
        "draft_templates.csv": ["template_id", "links-v1", "links-v2"],
        "essay_templates.csv": ["template_id", "story-v1", "story-v2", "story-v3"],
        "evaluation_templates.csv": ["template_id", *(f"score-v{n}" for n in range(4))],
        "llm_models.csv": [
            "id,for_generation,for_evaluation",
            *(f"model_{n},{str(n < 2).lower()},true" for n in range(4)),
        ],
        "concepts_metadata.csv": ["concept_id,name,active", "tides,Tides,true"],
        "replication_config.csv": ["stage,replicates", "draft,1", "essay,1", "evaluation,2"],
    }
    (path / "1_raw").mkdir(parents=True)
    (path / "2_tasks").mkdir()
    for name, lines in tables.items():
        (path / "1_raw" / name).write_text("".join(f"{line}\n" for line in lines))
    header = "combo_id,version,concept_id,description_level,k_max,created_at\n"
    rows = (f"combo_v1_{n:012x},v1,tides,paragraph,2,\n" for n in range(combos))
    (path / "2_tasks" / "selected_combo_mappings.csv").write_text(header + "".join(rows))
    return DataRoot.open(path)


def read_inputs(root: DataRoot) -> Inputs:
    """Read what planning takes."""
    return Inputs(
        tables=read_tables(root),
        combos=read_selected(root) or (),
        selection=Selection(),
        rollout=OPTIONS.rollout,
        cohort_id="bench",
    )


def derive(inputs: Inputs) -> list[str]:
    """Return the ids of the cohort, derived and nothing else."""
    tables = inputs.tables
    templates = {
        stage: [row.template_id for row in tables.active_templates(stage)]
        for stage in ("draft", "essay", "evaluation")
    }
    drafts = list(
        Grid(
            Draft,
            combo_id=[combo.combo_id for combo in inputs.combos],
            template_id=templates["draft"],
            llm_model_id=[row.llm_model_id for row in tables.generation_models],
            replicate=range(1, tables.replicates["draft"] + 1),
        )
    )
    essays = list(
        Grid(
            Essay,
            parent_gen_id=drafts,
            template_id=templates["essay"],
            replicate=range(1, tables.replicates["essay"] + 1),
        )
    )
    evaluations = Grid(
        Evaluation,
        parent_gen_id=essays,
        template_id=templates["evaluation"],
        llm_model_id=[row.llm_model_id for row in tables.evaluation_models],
        replicate=range(1, tables.replicates["evaluation"] + 1),
    )
    return [*drafts, *essays, *evaluations]


def make_bare(root: DataRoot, files: dict[str, bytes], membership: bytes) -> None:
    """Make each file aside and rename its folder into place; then the membership."""
    aside = root.temporary / "bare"
    aside.mkdir(parents=True)
    for stage in ("draft", "essay", "evaluation"):
        root.stage(stage).mkdir(parents=True)
    for number, (name, data) in enumerate(files.items()):
        folder = f"{aside}/{number}"
        os.mkdir(folder)
        descriptor = os.open(f"{folder}/metadata.json", os.O_WRONLY | os.O_CREAT | os.O_EXCL)
        os.write(descriptor, data)
        os.close(descriptor)
        os.rename(folder, f"{root.gens}/{name}")
    write_atomic(root.membership("bench"), membership)


def unbuild(root: DataRoot) -> None:
    """Remove what a build wrote."""
    for path in (root.gens, root.cohorts, root.own):
        shutil.rmtree(path, ignore_errors=True)


def peak_megabytes() -> float:
    """Build 100,000 rows in a process of its own and return its peak of resident memory."""
    with tempfile.TemporaryDirectory(dir=memory_folder()) as folder:
        return float(apart("-m", "benchmarks.bench_cohort", folder))


if __name__ == "__main__":
    import resource

    build_cohort(make_root(Path(sys.argv[1], "root"), COMBOS["long"]), OPTIONS)
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
