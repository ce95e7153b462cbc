"""What a model knows of its nights when tasks join it."""

from dataclasses import replace


def test_tasks_join_and_what_was_known_stays(reference):
    breathing, stages = reference.night["breathing"], reference.night["stages"]
    later = replace(
        reference,
        temperature={"stages": 2.0, "rera": 1.5},
        night={"breathing": stages, "rera": breathing},
        nights=3,
    )
    joined = reference.joined_by(later)
    assert joined == replace(
        reference, temperature={"stages": 1.25, "rera": 1.5}, night=reference.night | {"rera": breathing}
    )
