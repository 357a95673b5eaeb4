"""One slab of the patient: densities in HU from the anatomy, the trees and the lesions."""

from __future__ import annotations

import numpy as np

from tools.phantom.anatomy import Anatomy, ellipsoid_depth, squircle_depth
from tools.phantom.chest import SLAB_MM, Bool, Float32, Side
from tools.phantom.grid import Grid
from tools.phantom.lesions import Lesion, lobe_of
from tools.phantom.texture import SmoothField
from tools.phantom.trees import Cover, Trees

AIR, FAT, MUSCLE, BLOOD, LIVER, SKIN = -1000.0, -100.0, 52.0, 40.0, 58.0, 20.0
MARROW, CORTEX, CARTILAGE, DISC = 170.0, 780.0, 110.0, 75.0
PARENCHYMA, GRAVITY = -862.0, 38.0
"""HU of lung tissue between the vessels halfway down, and what it gains from there to the back."""
WHITEOUT = 30.0


def _blend(onto: Float32, share: Float32, hu: Float32 | float) -> None:
    """Replaces a share of each sample by another density, in place."""
    onto += share * (np.float32(hu) - onto if isinstance(hu, float) else hu - onto)


class Painter:
    """Paints the slabs of one patient on one grid."""

    def __init__(
        self,
        anatomy: Anatomy,
        trees: Trees,
        lesions: list[Lesion],
        whiteout: Side | None,
        grid: Grid,
        rng: np.random.Generator,
    ) -> None:
        self._anatomy, self._lesions, self._whiteout, self._grid = anatomy, lesions, whiteout, grid
        self.slabs = round(anatomy.extent_mm / SLAB_MM)
        reach_x, front, back = anatomy.half_width + 22, -anatomy.half_depth - 24, anatomy.half_depth + 50
        self._rows, self._columns = grid.window(front, back), grid.window(-reach_x, reach_x)
        self._x, self._y = grid.x[:, self._columns], grid.y[self._rows]
        low, high = (0.0, front - 5, -reach_x - 5), (anatomy.extent_mm, back + 5, reach_x + 5)
        self._coarse = SmoothField(rng, 18.0, low, high)
        self._middle = SmoothField(rng, 6.0, low, high)
        self._fine = SmoothField(rng, 2.5, low, high)
        self._diaphragm = anatomy.diaphragm(self._x, self._y)
        self._cupola = anatomy.cupola(self._x, self._y)
        across, along = np.gradient(self._diaphragm, grid.sample_mm)
        self._steep = 1 / np.sqrt(1 + across**2 + along**2)
        self._angle = np.arctan2(np.abs(self._x), 0.10 * anatomy.half_depth - self._y)
        self._vessels = Cover(trees.vessels, grid, self.slabs, SLAB_MM)
        self._walls = Cover(trees.walls, grid, self.slabs, SLAB_MM)
        self._lumina = Cover(trees.lumina, grid, self.slabs, SLAB_MM)
        self._central_vessels = Cover(trees.central_vessels, grid, self.slabs, SLAB_MM)
        self._central_walls = Cover(trees.central_walls, grid, self.slabs, SLAB_MM)
        self._central_lumina = Cover(trees.central_lumina, grid, self.slabs, SLAB_MM)
        self._air, self._table_y = self._surroundings()

    def _surroundings(self) -> tuple[Float32, Float32]:
        """Air and the table, [rows, columns], and the height y of the table's top at each column."""
        grid, anatomy = self._grid, self._anatomy
        hu = np.full((grid.samples, grid.samples), AIR, np.float32)
        radius = np.float32(520.0)
        centre_y = np.float32(anatomy.half_depth + anatomy.posterior_wall - 2 - 520.0)
        from_centre = np.hypot(grid.x, grid.y - centre_y)
        foam = np.minimum(from_centre - radius, radius + 34 - from_centre)
        foam = np.minimum(foam, 205 - np.abs(grid.x))
        _blend(hu, grid.coverage(foam), -930.0)
        for inner in (radius + 5, radius + 32):
            _blend(hu, grid.coverage(np.minimum(0.9 - np.abs(from_centre - inner), foam)), -150.0)
        top = centre_y + np.sqrt(radius**2 - grid.x**2)
        return hu, top

    def lungs(self, z: float) -> Float32:
        """Depth in mm inside of the lungs at z, on the thorax window."""
        vertical = np.minimum((z - self._diaphragm) * self._steep, (self._cupola - z) * np.float32(0.75))
        depth: Float32 = np.minimum(np.minimum(self._cavity, vertical), -self._mediastinum)
        return depth

    def slab(self, index: int) -> tuple[Float32, Float32, float]:
        """Densities in HU [samples, samples], the share of lesion in each, and the lungs' area in mm2."""
        anatomy, grid = self._anatomy, self._grid
        z = (index + 0.5) * SLAB_MM
        x, y = self._x, self._y
        self._cavity = anatomy.cavity_depth(x, y, z)
        self._mediastinum = anatomy.mediastinum_depth(x, y, z)
        coarse = self._coarse.plane(z, y[:, 0], x[0])
        hu = self._body(z)
        inner = hu[self._rows, self._columns]
        self._wall(inner, z, coarse)
        self._inside(inner, z, coarse)
        lesions = np.zeros_like(hu)
        depth = self.lungs(z)
        lung = grid.coverage(depth)
        area = float(lung.sum()) * grid.sample_mm**2
        if area > 0:
            self._lung(inner, lung, z, index, coarse, lesions[self._rows, self._columns])
        self._central(hu, index)
        return hu, lesions, area

    def _body(self, z: float) -> Float32:
        """Air, table, skin, fat and muscle."""
        anatomy, grid = self._anatomy, self._grid
        hu = self._air.copy()
        level = float(anatomy.level(z))
        half_width = anatomy.half_width + anatomy.lateral_wall + 4 * np.sin(3 * level)
        front, back = anatomy.anterior_wall, anatomy.posterior_wall
        shift = np.float32((back - front) / 2)
        half_depth = anatomy.half_depth + (front + back) / 2
        depth = squircle_depth(grid.x, grid.y - shift, half_width, half_depth)
        if anatomy.female and -0.1 < level < 0.6:
            for side in (-1, 1):
                centre = (side * 0.58 * anatomy.half_width, -anatomy.half_depth - 12, anatomy.z(0.27))
                breast = ellipsoid_depth(grid.x, grid.y, z, centre, (58, 44, 55))
                depth = np.maximum(depth, breast)
        depth = np.minimum(depth, self._table_y - grid.y)
        _blend(hu, grid.coverage(depth), SKIN)
        _blend(hu, grid.coverage(depth - np.float32(1.8)), FAT)
        return hu

    def _wall(self, hu: Float32, z: float, coarse: Float32) -> None:
        """Muscle, ribs, sternum, scapulae and spine around the cavity."""
        anatomy, grid, x, y = self._anatomy, self._grid, self._x, self._y
        level = float(anatomy.level(z))
        outside = -self._cavity
        behind = np.clip((y - 0.3 * anatomy.half_depth) / 60, 0, 1)
        thickness = np.float32(15.0) + 3 * coarse + 22 * behind * np.exp(-(((np.abs(x) - 32) / 34) ** 2))
        inside_body = hu > -300
        muscle = grid.coverage(thickness - outside) * inside_body
        _blend(hu, muscle, MUSCLE)
        _blend(hu, grid.coverage(np.float32(1.2) - np.abs(outside - 1.5)), -40.0)

        reach = self._angle / np.pi
        height = (z + 88 * anatomy.unit * (1 - reach) ** 1.2 - 20) / anatomy.rib_spacing + anatomy.rib_phase
        across = (height - np.floor(height) - 0.5) * np.float32(anatomy.rib_spacing * 0.85)
        rib = (1 - np.hypot(across / 6.3, (outside - 7.5) / 4.2)) * np.float32(4.2)
        rib = np.where(np.abs(x) < 16, np.float32(-9), rib)
        bone = grid.coverage(rib) * inside_body
        front = np.clip((0.30 - reach) / 0.05, 0, 1)
        _blend(hu, bone, CORTEX + front * (CARTILAGE - CORTEX))
        _blend(hu, grid.coverage(rib - 1.2) * inside_body, MARROW + 60 + front * (CARTILAGE - MARROW - 60))

        if 0.28 < level < 0.86:
            half_width, half_depth, centre = anatomy.cavity(z)
            plate = np.minimum(17 - np.abs(x), 5.5 - np.abs(y - (centre - half_depth - 7)))
            _blend(hu, grid.coverage(plate), CORTEX - 250)
            _blend(hu, grid.coverage(plate - 1.3), MARROW)
        if level > 0.42:
            self._scapulae(hu, z, level)
        self._spine(hu, z)

    def _scapulae(self, hu: Float32, z: float, level: float) -> None:
        anatomy, grid, x, y = self._anatomy, self._grid, np.abs(self._x), self._y
        half_width, half_depth, centre = anatomy.cavity(anatomy.z(0.45))
        spread = np.float32(min((level - 0.42) / 0.3, 1.0))
        start_x, start_y = 0.60 * half_width, centre + 0.93 * half_depth + 14
        end_x, end_y = start_x + spread * 52, start_y - spread * 50
        along_x, along_y = end_x - start_x + 1e-3, end_y - start_y
        t = np.clip(((x - start_x) * along_x + (y - start_y) * along_y) / (along_x**2 + along_y**2), 0, 1)
        bend = 4 * np.sin(np.pi * t)
        distance = np.hypot(x - start_x - t * along_x, y - start_y - t * along_y - bend)
        blade = 2.2 + 2.5 * t * t - distance
        inside_body = hu > -300
        _blend(hu, grid.coverage(blade + 9) * inside_body, MUSCLE)
        _blend(hu, grid.coverage(blade) * inside_body, CORTEX - 150)
        _blend(hu, grid.coverage(blade - 1.4) * inside_body, MARROW + 80)

    def _spine(self, hu: Float32, z: float) -> None:
        anatomy, grid, x = self._anatomy, self._grid, self._x
        unit = anatomy.unit
        y = self._y - anatomy.spine_y(z)
        phase = (z / (25 * unit)) % 1.0
        inside_body = hu > -300
        # Arch: laminae and transverse processes, a spinous process, and the canal between them.
        arch = 5 * unit - np.abs(y - 20 * unit - 0.25 * np.abs(x))
        arch = np.minimum(arch, (30 if phase < 0.45 else 14) * unit - np.abs(x))
        process = np.minimum(3.5 * unit - np.abs(x), 17 * unit - np.abs(y - 36 * unit))
        posterior = np.maximum(arch, process if phase > 0.3 else arch)
        pedicle = np.minimum(4.5 - np.abs(np.abs(x) - 12 * unit), 10 - np.abs(y - 14 * unit))
        posterior = np.maximum(posterior, pedicle if phase < 0.5 else posterior)
        _blend(hu, grid.coverage(posterior) * inside_body, CORTEX - 200)
        _blend(hu, grid.coverage(posterior - 1.6) * inside_body, MARROW + 60)
        body = (1 - np.hypot(x / (17 * unit), y / (13.5 * unit))) * np.float32(13.5 * unit)
        if phase < 0.8:
            _blend(hu, grid.coverage(body), CORTEX - 350)
            edge = 0.10 < phase < 0.72
            _blend(hu, grid.coverage(body - 1.4), MARROW if edge else MARROW + 160)
        else:
            _blend(hu, grid.coverage(body), DISC)
        canal = 8.5 * unit - np.hypot(x, y - 19 * unit)
        _blend(hu, grid.coverage(canal), 25.0)

    def _inside(self, hu: Float32, z: float, coarse: Float32) -> None:
        """What the cavity holds besides the lungs: fat, heart, aorta, liver, spleen, stomach."""
        anatomy, grid, x, y = self._anatomy, self._grid, self._x, self._y
        cavity = grid.coverage(self._cavity)
        bone = grid.coverage(-9 - anatomy.spine_depth(x, y, z))
        del bone
        spared = grid.coverage(-anatomy.spine_depth(x, y, z) - 2)
        _blend(hu, cavity * spared, (FAT + 20 + 55 * np.clip(coarse, 0, 1.2)).astype(np.float32))
        level = float(anatomy.level(z))
        if level > 0.72:
            soft = np.clip((level - 0.72) / 0.1, 0, 1)
            vessels = ellipsoid_depth(np.abs(x), y, z, (15.0, 6.0, anatomy.apex), (9, 9, 900))
            _blend(hu, grid.coverage(vessels) * np.float32(soft), BLOOD)
        esophagus = 7.5 - np.hypot(x - 6, y - (anatomy.spine_y(z) - 23 * anatomy.unit))
        _blend(hu, grid.coverage(esophagus), 32.0)
        below = self._diaphragm - z
        if level < 0.5:
            under = np.minimum(below, self._cavity) * 0.8
            _blend(hu, grid.coverage(under) * spared, MUSCLE)
            under = under - 2.5
            liver = np.minimum(under, 28 - x - 0.5 * y)
            _blend(hu, grid.coverage(liver) * spared, LIVER)
            left = np.minimum(under, x - 28 + 0.5 * y)
            _blend(hu, grid.coverage(left) * spared, FAT)
            top = anatomy.z(anatomy.left_dome)
            spleen = ellipsoid_depth(x, y, z, (0.68 * anatomy.half_width, 40, top - 62), (38, 42, 46))
            _blend(hu, grid.coverage(np.minimum(spleen, left)), MUSCLE)
            stomach = ellipsoid_depth(x, y, z, (0.45 * anatomy.half_width, -18, top - 36), (34, 44, 30))
            stomach = np.minimum(stomach, left)
            _blend(hu, grid.coverage(stomach), 38.0)
            gas = np.minimum(stomach - 4, -30 - y)
            _blend(hu, grid.coverage(gas), AIR)
        heart = anatomy.heart_depth(x, y, z)
        _blend(hu, grid.coverage(heart), FAT + 15)
        _blend(hu, grid.coverage(heart - 3), BLOOD)
        _blend(hu, grid.coverage(anatomy.aorta_depth(x, y, z)), BLOOD + 2)

    def _lung(
        self, hu: Float32, lung: Float32, z: float, index: int, coarse: Float32, lesions: Float32
    ) -> None:
        """Parenchyma, fissures, disease, vessels and bronchi; fills `lesions` with the share of disease."""
        anatomy, grid, x, y = self._anatomy, self._grid, self._x, self._y
        middle = self._middle.plane(z, y[:, 0], x[0])
        fine = self._fine.plane(z, y[:, 0], x[0])
        gravity = PARENCHYMA + GRAVITY * y / anatomy.half_depth
        tissue: Float32 = (gravity + 10 * coarse + 9 * middle + 16 * fine).astype(np.float32)
        below = anatomy.lower_lobe_depth(y, z) + 2 * coarse
        _blend(tissue, grid.coverage(np.float32(0.5) - np.abs(below)) * np.float32(0.5), -650.0)
        for lesion in self._lesions:
            self._lesion(lesion, tissue, lung, z, coarse, middle, lesions)
        white = np.zeros_like(lung)
        if self._whiteout:
            white = (x > 0 if self._whiteout == "left" else x < 0) & (lung > 0)
            white = white.astype(np.float32)
            _blend(tissue, white, (WHITEOUT + 6 * middle).astype(np.float32))
            np.maximum(lesions, white * lung, out=lesions)
        part = self._rows, self._columns
        _blend(tissue, self._vessels.plane(index)[part], BLOOD)
        _blend(tissue, self._walls.plane(index)[part] * (1 - white), -60.0)
        _blend(tissue, self._lumina.plane(index)[part] * (1 - white), AIR)
        _blend(hu, lung, tissue)

    def _lesion(
        self,
        lesion: Lesion,
        tissue: Float32,
        lung: Float32,
        z: float,
        coarse: Float32,
        middle: Float32,
        lesions: Float32,
    ) -> None:
        reach = lesion.reach_mm
        if abs(z - lesion.centre[2]) > reach:
            return
        columns = (self._x[0] > lesion.centre[0] - reach) & (self._x[0] < lesion.centre[0] + reach)
        columns &= (self._x[0] > 0) == (lesion.side == "left")
        rows = (self._y[:, 0] > lesion.centre[1] - reach) & (self._y[:, 0] < lesion.centre[1] + reach)
        if not (rows.any() and columns.any()):
            return
        part = (
            slice(int(rows.argmax()), len(rows) - int(rows[::-1].argmax())),
            slice(int(columns.argmax()), len(columns) - int(columns[::-1].argmax())),
        )
        x, y = self._x[:, part[1]], self._y[part[0]]
        rough = np.float32(0.7) * coarse[part] + np.float32(0.7) * middle[part]
        presence = lesion.presence(x, y, z, rough)
        if lesion.lobe:
            below, above = lobe_of(self._anatomy, lesion.side, y, np.float32(z) + 0 * y)
            below = below + 2 * coarse[part]
            edge = {"lower": below, "upper": np.minimum(-below, above), "middle": np.minimum(-below, -above)}
            presence = presence * self._grid.coverage(edge[lesion.lobe])
        target = (lesion.hu + 0.04 * (lesion.hu + 1000) * middle[part]).astype(np.float32)
        # Ground glass adds to the lung: it never makes it lighter.
        _blend(tissue[part], presence, np.maximum(tissue[part], target))
        np.maximum(lesions[part], (presence > 0.5) * lung[part], out=lesions[part])

    def _central(self, hu: Float32, index: int) -> None:
        """Trachea, main bronchi and the great pulmonary vessels."""
        _blend(hu, self._central_vessels.plane(index), BLOOD)
        _blend(hu, self._central_walls.plane(index), 20.0)
        _blend(hu, self._central_lumina.plane(index), AIR)


def mask_of(shares: Float32) -> Bool:
    """A voxel belongs to the disease when at least half of it does."""
    mask: Bool = shares >= np.float32(0.5 - 1e-4)
    return mask
