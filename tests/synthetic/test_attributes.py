from __future__ import annotations

from pathlib import Path

from omnireid.data.attribute_sources import read_attributes
from omnireid.data.attributes import tasks_of
from omnireid.synthetic.attributes import ATTRIBUTE_NAMES, attributes_of, write_attributes
from omnireid.synthetic.pedestrian import Pedestrian, draw_pedestrians
from omnireid.synthetic.plan import Plan


def test_a_person_has_one_value_of_each_task_and_none_of_what_is_absent() -> None:
    plain = attributes_of(Pedestrian(bag="tote", bag_colour="red", hair="none", hair_colour="none"))
    true = {name for name, value in plain.items() if value}
    assert true == {
        *("upper=tee", "upper_colour=grey", "lower=trousers", "lower_colour=navy"),
        *("bag=tote", "pattern=plain", "shoe=sneaker"),
    }
    tasks = tasks_of(ATTRIBUTE_NAMES)
    for person in draw_pedestrians(40, cue="mixed", seed=0):
        values = list(attributes_of(person).values())
        counts = {task: sum(values[column] for column in columns) for task, columns in tasks.items()}
        assert set(counts.values()) <= {0, 1}
        assert counts["upper_colour"] == counts["lower_colour"] == counts["shoe"] == 1
        assert counts["logo"] == (person.logo != "none")


def test_the_file_reads_back_as_every_person_has_it(tmp_path: Path) -> None:
    plan = Plan(identities=12, seed=3)
    write_attributes(tmp_path / "attributes.csv", plan)
    read = read_attributes(tmp_path)
    assert read.names == ATTRIBUTE_NAMES
    assert read.person_ids is not None
    assert read.person_ids.tolist() == list(range(1, 13))
    people = draw_pedestrians(12, cue="mixed", seed=3)
    assert read.values.tolist() == [list(attributes_of(person).values()) for person in people]
