from __future__ import annotations

from collections import Counter

import pytest

from carlad.standin import blueprints
from carlad.wire.types import ActorDefinition, AttributeType, CityObjectLabel

DEFINITIONS = {definition.id: definition for definition in blueprints.definitions()}


def _value(definition: ActorDefinition, name: str) -> str:
    return next(attribute.value for attribute in definition.attributes if attribute.id == name)


def test_all_blueprints_of_0_9_16_are_there() -> None:
    kinds = Counter(blueprint_id.partition(".")[0] for blueprint_id in DEFINITIONS)
    assert kinds == {"vehicle": 41, "walker": 52, "sensor": 19, "static": 100, "controller": 1, "util": 1}


def test_uids_count_from_one() -> None:
    assert [definition.uid for definition in blueprints.definitions()] == list(range(1, 215))


def test_ids_and_attribute_names_are_unique() -> None:
    assert len(DEFINITIONS) == 214
    for definition in DEFINITIONS.values():
        names = [attribute.id for attribute in definition.attributes]
        assert len(names) == len(set(names))
        assert names[0] == "role_name"


def test_tags_are_the_parts_of_the_id() -> None:
    assert DEFINITIONS["vehicle.tesla.model3"].tags == "vehicle,tesla,model3"


def test_a_default_is_the_first_recommended_value_where_the_user_may_choose() -> None:
    for definition in DEFINITIONS.values():
        for attribute in definition.attributes:
            if attribute.is_modifiable:
                assert attribute.value == attribute.recommended_values[0]
            else:
                assert not attribute.recommended_values
                assert not attribute.restrict_to_recommended


def test_colors_read_as_three_bytes() -> None:
    for definition in DEFINITIONS.values():
        for attribute in definition.attributes:
            if attribute.type == AttributeType.RGB_COLOR:
                for color in attribute.recommended_values:
                    assert all(0 <= int(part) <= 255 for part in color.split(","))


@pytest.mark.parametrize(
    ("blueprint_id", "name", "value"),
    [
        ("vehicle.tesla.model3", "number_of_wheels", "4"),
        ("vehicle.tesla.model3", "color", "17,37,103"),
        ("vehicle.dodge.charger_police", "special_type", "emergency"),
        ("vehicle.lincoln.mkz_2020", "generation", "2"),
        ("vehicle.carlamotors.european_hgv", "number_of_wheels", "6"),
        ("sensor.camera.rgb", "image_size_x", "800"),
        ("sensor.camera.rgb", "fov", "90.0"),
        ("sensor.lidar.ray_cast", "points_per_second", "56000"),
        ("walker.pedestrian.0001", "gender", "female"),
    ],
)
def test_attributes_have_carla_s_values(blueprint_id: str, name: str, value: str) -> None:
    assert _value(DEFINITIONS[blueprint_id], name) == value


def test_every_vehicle_walker_and_prop_with_a_size_has_a_body() -> None:
    for blueprint_id in DEFINITIONS:
        if blueprint_id.startswith(("vehicle.", "walker.")):
            body = blueprints.body(blueprint_id)
            assert min(body.extent) > 0
            assert body.mass_kg > 0
    assert blueprints.body("static.prop.bench01").tag == CityObjectLabel.STATIC


def test_vehicles_have_plausible_bodies() -> None:
    for blueprint_id in DEFINITIONS:
        if blueprint_id.startswith("vehicle."):
            body = blueprints.body(blueprint_id)
            assert 0.5 * body.extent[0] < body.wheelbase_m < 2 * body.extent[0]
            assert 0 < body.front_axle_m < body.center[0] + body.extent[0]
            assert 50 < body.mass_kg < 15000
            assert body.wheels in (2, 4, 6)


@pytest.mark.parametrize(
    ("blueprint_id", "tag"),
    [
        ("vehicle.audi.a2", CityObjectLabel.CAR),
        ("vehicle.carlamotors.firetruck", CityObjectLabel.TRUCK),
        ("vehicle.mitsubishi.fusorosa", CityObjectLabel.BUS),
        ("vehicle.yamaha.yzf", CityObjectLabel.MOTORCYCLE),
        ("vehicle.bh.crossbike", CityObjectLabel.BICYCLE),
        ("walker.pedestrian.0010", CityObjectLabel.PEDESTRIANS),
    ],
)
def test_bodies_carry_their_semantic_tag(blueprint_id: str, tag: CityObjectLabel) -> None:
    assert blueprints.body(blueprint_id).tag == tag


@pytest.mark.parametrize("blueprint_id", ["sensor.camera.rgb", "vehicle.nobody.nothing", ""])
def test_what_has_no_body_is_refused(blueprint_id: str) -> None:
    with pytest.raises(blueprints.UnknownBlueprintError, match="cannot find a body"):
        blueprints.body(blueprint_id)
