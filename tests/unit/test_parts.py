"""Parts of a study: every image of every mu once, whatever the cut."""

import pytest

from vpaudit.base.errors import VpauditError
from vpaudit.study import config as configuration
from vpaudit.study import shards


def study(images: int, per_job: int | None):
    return configuration.resolve(
        {"data": {"images": images}, "mechanism": {"mu": [0.5, 20]}, "jobs": {"images_per_job": per_job}}
    )


@pytest.mark.parametrize(("images", "per_job"), [(10, None), (10, 3), (10, 10), (10, 99), (9, 3), (2, 1)])
def test_the_cut_covers_every_image_once(images, per_job):
    config = study(images, per_job)
    found = [shards.find(config, name) for name in shards.names(config)]
    for mu in ("0.5", "20"):
        places = [i for part in found if part.mu == mu for i in range(images)[part.images]]
        assert places == list(range(images))
    assert max(len(part) for part in found) <= (per_job or images)


def test_an_uncut_study_has_a_part_a_mu_with_the_names_it_always_had():
    assert shards.names(study(10, None)) == ["0.5", "20"]
    assert shards.names(study(10, 4))[:3] == ["0.5_shard=0000", "0.5_shard=0001", "0.5_shard=0002"]


@pytest.mark.parametrize("name", ["7", "0.5_shard=0003", "0.5_shard=3", "0.5", "", "../x"])
def test_unknown_parts_are_refused(name):
    with pytest.raises(VpauditError, match="has no part"):
        shards.find(study(10, 4), name)
