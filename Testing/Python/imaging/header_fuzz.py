"""Files with damaged headers, read one after another: `python header_fuzz.py FOLDER SEED COUNT`.

Each must end in a volume or in a ValueError of one line. Prints what did not, and the largest memory in MB at the end.
A process of its own, since ITK may bring its process down.
"""

from __future__ import annotations

import random
import resource
import shutil
import sys
import time
from pathlib import Path

import nibabel
import numpy as np
import SimpleITK as sitk

sys.path.insert(0, str(Path(__file__).parent))
import dicom_files
from phantom import grid, sample

from EfficientMedSAM2Lib.imaging.volumes import read_volume

LONGEST_SECONDS = 20
NUMBERS = ("0", "-1", "1", "99999", "2147483647", "4294967296", "1e308", "nan", "", "x")


def originals(folder: Path) -> list[Path]:
    """One small file or folder of each kind."""
    shape = (7, 8, 6)
    matrix = grid(shape_ijk=shape)
    array = sample(matrix, shape)
    image = nibabel.Nifti1Image(array.T, matrix)
    nibabel.save(image, folder / "a.nii")
    nibabel.save(image, folder / "b.nii.gz")
    nibabel.save(nibabel.Nifti2Image(array.T, matrix), folder / "c.nii")
    for name in ("d.nrrd", "e.mha", "f.mhd", "g.nhdr"):
        sitk.WriteImage(sitk.GetImageFromArray(array), str(folder / name), useCompression=name[0] in "de")
    sitk.WriteImage(sitk.GetImageFromArray(array[0].astype(np.uint8)), str(folder / "h.png"))
    sitk.WriteImage(sitk.GetImageFromArray(array[0].astype(np.uint8)), str(folder / "i.jpg"))
    dicom_files.write(dicom_files.slices(array, matrix), folder / "series")
    dicom_files.write([dicom_files.enhanced(array, matrix)], folder / "enhanced")
    return sorted(path for path in folder.iterdir() if path.suffix != ".raw" and not path.name.endswith(".zraw"))


def damage(path: Path, chance: random.Random) -> None:
    """Change some of a header: bytes, numbers in text, or where it ends."""
    content = bytearray(path.read_bytes())
    header = min(len(content), chance.choice([64, 352, 1500]))
    how = chance.choice(["bytes", "bytes", "number", "cut", "insert"])
    if how == "bytes":
        for _ in range(chance.choice([1, 1, 2, 8])):
            content[chance.randrange(header)] = chance.choice([0, 1, 127, 128, 255, chance.randrange(256)])
    elif how == "number":
        digits = [n for n, byte in enumerate(content[:header]) if chr(byte).isdigit()]
        if digits:
            at = chance.choice(digits)
            content[at : at + 1] = chance.choice(NUMBERS).encode()
    elif how == "cut":
        del content[chance.randrange(len(content)) :]
    else:
        at = chance.randrange(header)
        content[at:at] = bytes(chance.randrange(256) for _ in range(chance.choice([1, 4, 40])))
    path.write_bytes(content)


def verdict(path: Path, time_point: int | None) -> str:
    """What is wrong with how a file was read; empty where nothing is."""
    begun = time.monotonic()
    try:
        read_volume(path, time_point)
    except ValueError as error:
        if "\n" in str(error) or len(str(error)) > 1000:
            return f"not one line: {str(error)[:300]!r}"
    except BaseException as error:
        return f"{type(error).__name__}: {str(error)[:300]!r}"
    seconds = time.monotonic() - begun
    return f"took {seconds:.0f} s" if seconds > LONGEST_SECONDS else ""


def main(folder: Path, seed: int, count: int) -> None:
    """Damage and read ``count`` copies."""
    (folder / "whole").mkdir()
    whole = originals(folder / "whole")
    for number in range(count):
        chance = random.Random(seed * 1_000_003 + number)
        place = folder / "damaged"
        shutil.copytree(folder / "whole", place)
        path = place / chance.choice(whole).name
        files = sorted(path.iterdir()) if path.is_dir() else [path]
        for file in chance.sample(files, min(len(files), chance.choice([1, 1, 3]))):
            damage(file, chance)
        print(f"{seed} {number} {path.name}", file=sys.stderr, flush=True)  # the last line, where the process dies
        problem = verdict(path, chance.choice([None, None, 1]))
        if problem:
            print(f"{seed} {number} {path.name}: {problem}", flush=True)
        shutil.rmtree(place)
    print(f"peak {peak_megabytes():.0f}", flush=True)


def peak_megabytes() -> float:
    """Most memory of this program. `getrusage` also counts that of whoever started it."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) / 1e3 for line in lines if line.startswith("VmHWM"))
    except (OSError, StopIteration):
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
