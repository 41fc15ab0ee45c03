"""The bundled towns, each with the character of the CARLA town whose name it has."""

from __future__ import annotations

from dataclasses import replace

from carlad.standin.towns.design import grid
from carlad.standin.towns.design.network import Crossing, Link, Network, Street

_RESIDENTIAL = Street(1, 1, speed_kmh=30, parking_m=2.2)
_COLLECTOR = Street(1, 1, speed_kmh=50)
_AVENUE = Street(2, 2, speed_kmh=50, median_m=2.0, sidewalk_m=3.0)
_COUNTRY_ROAD = Street(1, 1, speed_kmh=70, kind="rural", shoulder_m=1.5, sidewalk_m=0.0)
_RAMP = Street(1, 0, speed_kmh=50, kind="motorway", shoulder_m=1.5, sidewalk_m=0.0, ramp=True)
_MOTORWAY = Street(4, 4, speed_kmh=90, kind="motorway", median_m=4.0, shoulder_m=2.5, sidewalk_m=0.0)


def town01() -> Network:
    """A small grid: blocks between narrow streets, two wide ones and a ring."""
    spec = grid.GridSpec(
        name="Town01",
        columns_m=(95.0, 110.0, 100.0, 85.0),
        rows_m=(90.0, 105.0, 80.0),
        arterial_columns=frozenset({2}),
        arterial_rows=frozenset({1}),
    )
    return replace(grid.network(spec), stop_line_m=1.0)


def town02() -> Network:
    """The same kind of town, smaller, without a street that is wide enough to change lanes."""
    spec = grid.GridSpec(name="Town02", columns_m=(95.0, 110.0), rows_m=(100.0, 90.0))
    return replace(grid.network(spec), stop_line_m=1.0, latitude_deg=48.1, longitude_deg=11.6)


def town03() -> Network:
    """A city around a roundabout, with winding streets and a hill in the west."""
    circle = Street(2, 0, speed_kmh=30)
    boulevard = Street(3, 2, speed_kmh=60)
    hillside = replace(_COLLECTOR, speed_kmh=40)
    crossings = (
        *(Crossing(x, y) for x, y in ((32, 0), (0, 32), (-32, 0), (0, -32))),
        *(Crossing(x, y) for x, y in ((239, 0), (0, 170), (-180, 0), (0, -170))),
        *(Crossing(x, y) for x, y in ((239, 170), (239, -170), (-180, 170), (-180, -170))),
        Crossing(380, 0),
        Crossing(-340, 0, z=9.0),
        *(Crossing(81.25, y) for y in (0, 202.5)),
    )
    east, north, west, south = 4, 5, 6, 7
    north_east, south_east, north_west, south_west, far_east, hill = 8, 9, 10, 11, 12, 13
    side, top = 14, 15
    return Network(
        name="Town03",
        crossings=crossings,
        links=(
            *(
                Link(k, (k + 1) % 4, circle, via=(corner,), radius_m=32.0)
                for k, corner in enumerate(((32, 32), (-32, 32), (-32, -32), (32, -32)))
            ),
            *(Link(k, k + 4, _AVENUE) for k in range(1, 4)),
            *(Link(a, b, _AVENUE) for a, b in ((0, side), (side, east))),
            Link(side, top, _COLLECTOR),
            Link(east, north_east, boulevard),
            Link(south_east, east, boulevard),
            Link(east, far_east, _AVENUE),
            Link(north, top, _AVENUE, via=((30, 202.5),), radius_m=60.0),
            Link(top, north_east, _AVENUE, via=((170, 202.5),), radius_m=60.0),
            Link(north, north_west, _RESIDENTIAL, via=((-70, 150), (-120, 185)), radius_m=50.0),
            Link(south, south_east, _RESIDENTIAL, via=((60, -150), (120, -195)), radius_m=50.0),
            Link(south, south_west, _RESIDENTIAL, via=((-90, -205),), radius_m=90.0),
            Link(west, north_west, _COLLECTOR),
            Link(west, south_west, _COLLECTOR),
            Link(west, hill, hillside, via=((-250, 25),), radius_m=120.0),
            Link(north_east, far_east, _COLLECTOR, via=((380, 170),), radius_m=60.0),
            Link(south_east, far_east, _COLLECTOR, via=((340, -170), (380, -110)), radius_m=60.0),
            Link(north_west, hill, hillside, via=((-340, 170),), radius_m=70.0, heights=((0.5, 6.0),)),
            Link(south_west, hill, hillside, via=((-290, -170), (-340, -100)), radius_m=60.0),
            Link(
                north_east,
                north_west,
                _COUNTRY_ROAD,
                via=((239, 254.5), (-180, 254.5)),
                radius_m=80.0,
                heights=((0.56, 0.0), (0.76, 5.0)),
            ),
            Link(
                south_east,
                south_west,
                _COUNTRY_ROAD,
                via=((239, -270), (0, -320), (-180, -270)),
                radius_m=90.0,
            ),
        ),
        latitude_deg=50.1,
        longitude_deg=14.4,
    )


def town04() -> Network:
    """A motorway in the shape of an eight, bridged where it crosses itself, with a town in each loop.

    Eastern ramps serve the lanes along the eight's course, western ones those against it; a country road
    under the bridges joins the towns.
    """
    three_on, three_back = replace(_MOTORWAY, forward=3), replace(_MOTORWAY, backward=3)
    crossings = (
        *(Crossing(x, 250, interchange=True) for x in (380, 620, -380, -620)),
        *(Crossing(x, y) for x, y in ((450, 110), (570, 110), (450, -10), (570, -10), (690, -10))),
        Crossing(570, -130),
        *(Crossing(x, y) for x, y in ((-550, 120), (-440, 120), (-440, -10), (-550, -10))),
    )
    east_off, east_on, west_on, west_off = range(4)
    a, b, c, d, e, f = range(4, 10)
    p, q, r, s = range(10, 14)
    return Network(
        name="Town04",
        crossings=crossings,
        links=(
            Link(east_off, east_on, three_on),
            Link(
                east_on,
                west_on,
                _MOTORWAY,
                via=((800, 250), (800, -250), (250, -250), (-250, 250)),
                radius_m=120.0,
                heights=((0.52, 0.0), (0.72, 13.0), (0.79, 13.0), (0.95, 0.0)),
            ),
            Link(west_on, west_off, three_back),
            Link(
                west_off,
                east_off,
                _MOTORWAY,
                via=((-800, 250), (-800, -250), (-250, -250), (250, 250)),
                radius_m=120.0,
                heights=((0.52, 0.0), (0.72, 6.5), (0.79, 6.5), (0.95, 0.0)),
            ),
            Link(east_off, a, _RAMP, via=((435, 230), (450, 200)), radius_m=50.0),
            Link(b, east_on, _RAMP, via=((565, 230),), radius_m=50.0),
            Link(west_off, p, _RAMP, via=((-565, 230), (-550, 200)), radius_m=50.0),
            Link(q, west_on, _RAMP, via=((-435, 230),), radius_m=50.0),
            Link(a, b, _COLLECTOR),
            Link(a, c, _RESIDENTIAL),
            Link(b, d, _COLLECTOR),
            Link(c, d, _COLLECTOR),
            Link(d, e, _COLLECTOR),
            Link(c, f, _RESIDENTIAL, via=((450, -130),), radius_m=30.0),
            Link(d, f, _COLLECTOR),
            Link(b, e, _RESIDENTIAL, via=((690, 110),), radius_m=40.0),
            Link(f, e, _RESIDENTIAL, via=((690, -130),), radius_m=40.0),
            Link(p, q, _COLLECTOR),
            Link(q, r, _COLLECTOR),
            Link(p, s, _RESIDENTIAL),
            Link(r, s, _RESIDENTIAL),
            Link(s, r, _RESIDENTIAL, via=((-550, -140), (-440, -140)), radius_m=40.0),
            Link(c, r, _COUNTRY_ROAD),
        ),
        latitude_deg=45.5,
        longitude_deg=9.2,
    )


def town05() -> Network:
    """A large grid of wide streets, with a fast ring and a bridge."""
    spec = grid.GridSpec(
        name="Town05",
        columns_m=(120.0, 130.0, 110.0, 140.0, 120.0),
        rows_m=(115.0, 125.0, 130.0, 115.0),
        arterial_columns=frozenset({2, 4}),
        arterial_rows=frozenset({1, 2}),
        local=Street(1, 1, speed_kmh=30, parking_m=2.2),
        arterial=Street(3, 3, speed_kmh=60, median_m=3.0, sidewalk_m=3.0),
        ring=Street(2, 2, speed_kmh=70, median_m=2.0, shoulder_m=1.5),
        corner_radius_m=80.0,
        south_west=(-218.0, -281.0),  # a wide street along x = 32, the ring along y = 204
    )
    drawn = grid.network(spec)
    ends = drawn.crossings.index(Crossing(142.0, -41.0)), drawn.crossings.index(Crossing(282.0, -41.0))
    links = tuple(
        replace(link, heights=((0.5, 2.5),)) if (link.start, link.end) == ends else link
        for link in drawn.links
    )
    return replace(drawn, links=links, latitude_deg=40.4, longitude_deg=-3.7)


def town10hd() -> Network:
    """The middle of a city: crooked blocks, a boulevard, a promenade along the south."""
    boulevard = Street(3, 3, speed_kmh=50, median_m=4.0, sidewalk_m=3.5)
    avenue = Street(2, 2, speed_kmh=50, sidewalk_m=3.0)
    lane = replace(_RESIDENTIAL, sidewalk_m=3.0)
    crossings = tuple(
        Crossing(x, y)
        for x, y in (
            *((-130, 150), (0, 160), (130, 145)),
            *((-140, 30), (-5, 35), (125, 30)),
            *((-130, -95), (5, -100), (120, -90)),
        )
    )
    return Network(
        name="Town10HD",
        crossings=crossings,
        links=(
            *(Link(k, k + 1, street) for k, street in ((0, lane), (1, lane), (6, lane), (7, lane))),
            *(Link(k, k + 1, avenue) for k in (3, 4)),
            *(Link(k, k + 3, lane) for k in (0, 2, 3, 5)),
            *(Link(k, k + 3, boulevard) for k in (1, 4)),
            Link(0, 2, avenue, via=((-120, 230), (20, 250), (125, 225)), radius_m=50.0),
            Link(6, 8, avenue, via=((-125, -165), (-30, -200), (60, -175), (110, -170)), radius_m=50.0),
            Link(0, 6, avenue, via=((-225, 155), (-245, 30), (-225, -100)), radius_m=50.0),
            Link(2, 8, avenue, via=((220, 145), (235, 30), (210, -90)), radius_m=50.0),
        ),
        latitude_deg=52.5,
        longitude_deg=13.4,
    )


DESIGNS = (town01, town02, town03, town04, town05, town10hd)
