"""Around the cavity: air and table, skin, fat, muscle and bone."""

from __future__ import annotations

import numpy as np

from tools.phantom import tissue
from tools.phantom.anatomy import capsule_distance, ellipsoid_depth, squircle_depth
from tools.phantom.chest import Field
from tools.phantom.section import Section, Thorax, run
from tools.phantom.tissue import blend


class Wall:
    """Paints everything of a slab but the contents of the cavity."""

    def __init__(self, thorax: Thorax) -> None:
        self._thorax, self._anatomy, self._grid = thorax, thorax.anatomy, thorax.grid
        self._surroundings, self._table = self._air_and_table()
        # 0 behind to 1 in front, around the cavity.
        self._around = 1 - np.arctan2(np.abs(thorax.x), 0.1 * self._anatomy.half_depth - thorax.y) / np.pi

    def _air_and_table(self) -> tuple[Field, Field]:
        """HU without a patient [rows, columns], and the y of the table's top at each column."""
        grid, anatomy = self._grid, self._anatomy
        hu = np.full((grid.samples, grid.samples), tissue.AIR, np.float32)
        radius = 520.0
        centre = anatomy.half_depth + anatomy.posterior_wall - 2 - radius
        from_centre = np.hypot(grid.x, grid.y - centre)
        board = np.minimum(from_centre - radius, radius + 34 - from_centre)
        board = np.minimum(board, 205 - np.abs(grid.x))
        blend(hu, grid.coverage(board), -930.0)
        for shell in (radius + 5, radius + 32):
            blend(hu, grid.coverage(np.minimum(0.9 - np.abs(from_centre - shell), board)), -150.0)
        return hu, centre + np.sqrt(radius**2 - grid.x**2)

    def paint(self, section: Section, mottle: Field) -> Field:
        """HU of the slab, [samples, samples]; `mottle` is a unit random field on the thorax window."""
        hu = self._surroundings.copy()
        self._body(hu, section)
        inner = hu[self._thorax.window]
        inside = (inner > -300).astype(np.float32)
        self._muscle(inner, section, mottle, inside)
        self._ribs(inner, section, inside)
        self._sternum(inner, section)
        if section.level > 0.42:
            self._scapulae(inner, section, inside)
        self._spine(inner, section, inside)
        return hu

    def _body(self, hu: Field, section: Section) -> None:
        anatomy, grid = self._anatomy, self._grid
        front, back = anatomy.anterior_wall, anatomy.posterior_wall
        half_width = anatomy.half_width + anatomy.lateral_wall + 4 * float(np.sin(3 * section.level))
        half_depth = anatomy.half_depth + (front + back) / 2
        depth = squircle_depth(grid.x, grid.y - (back - front) / 2, half_width, half_depth)
        if anatomy.female and -0.1 < section.level < 0.6:
            centre = (0.58 * anatomy.half_width, -anatomy.half_depth - 10, anatomy.z(0.27))
            breasts = ellipsoid_depth(np.abs(grid.x), grid.y, section.z, centre, (56, 42, 55))
            depth = np.maximum(depth, breasts)
        depth = np.minimum(depth, self._table - grid.y)
        blend(hu, grid.coverage(depth), tissue.SKIN)
        blend(hu, grid.coverage(depth - 1.8), tissue.FAT)

    def _muscle(self, hu: Field, section: Section, mottle: Field, inside: Field) -> None:
        anatomy, grid, x, y = self._anatomy, self._grid, section.x, section.y
        outside = -section.cavity
        beside_spine = np.exp(-(((np.abs(x) - 32) / 34) ** 2)) * np.clip(
            (y - 0.3 * anatomy.half_depth) / 60, 0, 1
        )
        shoulder = 16 * float(np.clip((section.level - 0.35) / 0.4, 0, 1)) * np.clip(np.abs(x) / 90, 0, 1)
        thickness = 15 + 2 * mottle + 22 * beside_spine + shoulder
        blend(hu, grid.coverage(thickness - outside) * inside, tissue.MUSCLE)
        # Fat between the muscles, and under the ribs.
        between = 0.9 - np.abs(outside - 16 - 2 * mottle)
        blend(hu, grid.coverage(between) * inside, tissue.FAT + 30)
        blend(hu, grid.coverage(1.0 - np.abs(outside - 1.5)), tissue.FAT + 60)

    def _ribs(self, hu: Field, section: Section, inside: Field) -> None:
        """Ribs fall from the spine to the front; the last part of each is cartilage."""
        anatomy, grid = self._anatomy, self._grid
        fall = 88 * anatomy.unit * self._around**1.2
        turn = (section.z + fall - 20) / anatomy.rib_spacing + anatomy.rib_phase
        across = (turn - np.floor(turn) - 0.5) * (0.85 * anatomy.rib_spacing)
        depth = 4.2 - np.hypot(across * (4.2 / 6.3), -section.cavity - 7.5)
        depth = np.where(np.abs(section.x) < 16, np.float32(-9), depth)
        cartilage = np.clip((self._around - 0.70) / 0.05, 0, 1)
        cortex = tissue.CORTEX + cartilage * (tissue.CARTILAGE - tissue.CORTEX)
        marrow = tissue.MARROW + 60 + cartilage * (tissue.CARTILAGE - tissue.MARROW - 60)
        blend(hu, grid.coverage(depth) * inside, cortex)
        blend(hu, grid.coverage(depth - 1.2) * inside, marrow)

    def _sternum(self, hu: Field, section: Section) -> None:
        if not 0.28 < section.level < 0.86:
            return
        _, half_depth, centre = self._anatomy.cavity(section.z)
        front = float(centre - half_depth - 7)
        wide = 20.0 if section.level > 0.7 else 15.0
        depth = 5.5 - np.hypot(np.maximum(np.abs(section.x) - wide + 5, 0), section.y - front)
        blend(hu, self._grid.coverage(depth), tissue.CORTEX - 350)
        blend(hu, self._grid.coverage(depth - 1.3), tissue.MARROW - 40)

    def _scapulae(self, hu: Field, section: Section, inside: Field) -> None:
        half_width, half_depth, centre = (float(size) for size in self._anatomy.cavity(self._anatomy.z(0.45)))
        spread = min((section.level - 0.42) / 0.3, 1.0) + 0.02
        start = (0.60 * half_width, centre + 0.93 * half_depth + 14)
        end = (start[0] + spread * 52, start[1] - spread * 50)
        x, y = np.abs(section.x), section.y
        bulge = 5 * np.exp(-((x - start[0] - spread * 20) ** 2 + (y - start[1] + spread * 20) ** 2) / 300)
        depth = 2.4 - capsule_distance(x, y, start, end) + 0.5 * bulge * spread
        coverage = self._grid.coverage
        blend(hu, coverage(depth + 9) * inside, tissue.MUSCLE)
        blend(hu, coverage(depth) * inside, tissue.CORTEX - 150)
        blend(hu, coverage(depth - 1.4) * inside, tissue.MARROW + 80)

    def _spine(self, hu: Field, section: Section, inside: Field) -> None:
        """A vertebra or a disc, with its arch, processes and canal, by the height within the segment."""
        unit, coverage = self._anatomy.unit, self._grid.coverage
        y = section.y - float(self._anatomy.spine_y(section.z))
        part = run(np.abs(y[:, 0] - 18 * unit) < 36 * unit), run(np.abs(section.x[0]) < 34 * unit)
        hu, inside = hu[part], inside[part]
        x, y = section.x[:, part[1]], y[part[0]]
        phase = (section.z / (25 * unit)) % 1.0
        arch = 4.5 * unit - np.abs(y - 20 * unit - 0.25 * np.abs(x))
        arch = np.minimum(arch, (28 if phase < 0.45 else 13) * unit - np.abs(x))
        if phase > 0.3:
            arch = np.maximum(arch, 3.2 * unit - capsule_distance(x, y, (0.0, 24 * unit), (0.0, 46 * unit)))
        if phase < 0.5:
            arch = np.maximum(
                arch, np.minimum(4.5 - np.abs(np.abs(x) - 12 * unit), 10 - np.abs(y - 14 * unit))
            )
        blend(hu, coverage(arch) * inside, tissue.CORTEX - 200)
        blend(hu, coverage(arch - 1.6) * inside, tissue.MARROW + 60)
        body = (1 - np.hypot(x / (17 * unit), y / (13.5 * unit))) * (13.5 * unit)
        if phase < 0.8:
            plate = phase < 0.10 or phase > 0.72
            blend(hu, coverage(body), tissue.CORTEX - 350)
            blend(hu, coverage(body - 1.4), tissue.MARROW + (160 if plate else 0))
        else:
            blend(hu, coverage(body), tissue.DISC)
        blend(hu, coverage(8 * unit - np.hypot(x, y - 19 * unit)), tissue.CORD)
