"""Makes the pictures of a folder or zip alike, and varies them by a seed."""

import argparse
import csv
import hashlib
import io
import json
import random
import shutil
import sys
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePosixPath

ENDINGS = {".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm", ".pgm"}
WRITTEN = {"png": ".png", "jpeg": ".jpg", "webp": ".webp"}
# A picture of more pixels than this is taken for an attack.
MOST_PIXELS = 200_000_000


def arguments():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pictures", type=Path, required=True, help="a folder, or a zip file")
    parser.add_argument("--images", type=Path, required=True, help="the folder to write")
    parser.add_argument("--index", type=Path, help="a CSV file of what was written")
    parser.add_argument("--metrics", type=Path, required=True, help="a JSON file of metrics")
    parser.add_argument("--values", type=Path, required=True, help="a JSON file of the other values")
    parser.add_argument("--cores", type=int, default=1, help="how many pictures at once")
    return parser.parse_args()


def found(pictures):
    """The paths of the pictures with how each is read, in the order of their paths."""
    if pictures.is_dir():
        files = {path.relative_to(pictures).as_posix(): path for path in pictures.rglob("*") if path.is_file()}
        readers = {name: path.read_bytes for name, path in files.items()}
    elif zipfile.is_zipfile(pictures):
        archive = zipfile.ZipFile(pictures)
        members = [member for member in archive.infolist() if not member.is_dir()]
        readers = {member.filename: lambda member=member: archive.read(member) for member in members}
    else:
        sys.exit(f"`{pictures.name}` is neither a folder nor a zip file")
    for name in readers:
        if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
            sys.exit(f"`{name}` leads out of the archive")
    wanted = [name for name in readers if PurePosixPath(name).suffix.lower() in ENDINGS]
    return [(name, readers[name]) for name in sorted(wanted)]


def opened(bytes_, mode):
    """A picture, turned as its camera says, on white where it is transparent."""
    from PIL import Image, ImageOps

    with Image.open(io.BytesIO(bytes_)) as picture:
        picture.load()
        picture = ImageOps.exif_transpose(picture)
        if picture.mode in ("RGBA", "LA", "PA") or "transparency" in picture.info:
            picture = picture.convert("RGBA")
            ground = Image.new("RGBA", picture.size, "white")
            picture = Image.alpha_composite(ground, picture)
        return picture.convert("L" if mode == "gray" else "RGB")


def alike(picture, values):
    """A picture of the wanted size and contrast."""
    from PIL import Image, ImageOps

    width, height = values.get("width"), values.get("height")
    if width or height:
        size = (width or height, height or width)
        how = Image.Resampling.LANCZOS
        if values["fit"] == "stretch":
            picture = picture.resize(size, how)
        elif values["fit"] == "crop":
            picture = ImageOps.fit(picture, size, how)
        else:
            picture = ImageOps.pad(picture, size, how, color=0)
    if values["normalize"] == "contrast":
        return ImageOps.autocontrast(picture)
    return ImageOps.equalize(picture) if values["normalize"] == "equalize" else picture


def varied(picture, values, name, copy):
    """A copy that is drawn from the seed, the path and its number, and from nothing else."""
    from PIL import Image, ImageEnhance, ImageOps

    drawn = hashlib.sha256(f"{values['seed']}\0{name}\0{copy}".encode()).digest()
    chance = random.Random(int.from_bytes(drawn[:8], "big"))
    flip, turn = chance.random() < 0.5, chance.uniform(-1, 1)
    right, down, light = chance.uniform(-1, 1), chance.uniform(-1, 1), chance.uniform(-1, 1)
    if values["flip"] and flip:
        picture = ImageOps.mirror(picture)
    move = (values["shift"] * right * picture.width, values["shift"] * down * picture.height)
    picture = picture.rotate(turn * values["rotate"], Image.Resampling.BILINEAR, translate=move)
    return ImageEnhance.Brightness(picture).enhance(1 + light * values["light"])


def save(picture, place, form):
    """Writes the pixels and nothing else."""
    place.parent.mkdir(parents=True, exist_ok=True)
    options = {"png": {"compress_level": 6}, "jpeg": {"quality": 95, "subsampling": 0}, "webp": {"lossless": True}}
    picture.save(place, format=form.upper(), **options[form])


def sums(picture):
    """Of each channel the pixels, their sum and the sum of their squares, in whole numbers."""
    counts = picture.histogram()
    channels = [counts[at : at + 256] for at in range(0, len(counts), 256)]
    return [
        (sum(one), sum(value * n for value, n in enumerate(one)), sum(value * value * n for value, n in enumerate(one)))
        for one in channels
    ]


def placed(names, values):
    """Where each picture and its copies are written: `a.png` stays `a.png`, and its copies are `a-1.png`, `a-2.png`."""
    ending = WRITTEN[values["format"]]
    paths = {name: PurePosixPath(name) for name in names}
    places, chosen, taken = {name: [] for name in names}, {}, set()
    for copy in range(values["copies"] + 1):
        # Who has the ending already keeps its name, whoever else would get it.
        for name, path in sorted(paths.items(), key=lambda one: (one[1].suffix != ending, one[0])):
            # The old ending tells two pictures apart: `a.png` and `a.jpg`.
            told = f"{path.stem}-{path.suffix[1:].lower()}"
            stem = chosen.get(name, path.stem if path.suffix.lower() == ending else told)
            # Names that differ in case alone are one file on some systems.
            while written(path, stem, copy, ending).lower() in taken:
                stem = told if stem == path.stem else stem + "-"
            chosen.setdefault(name, stem)
            places[name].append(written(path, stem, copy, ending))
            taken.add(places[name][-1].lower())
    return places


def written(path, stem, copy, ending):
    return path.with_name(stem + (f"-{copy}" if copy else "") + ending).as_posix()


def work(name, read, places, out, values):
    """One picture and its copies: rows of the index, and the sums of what was written; an error as a text."""
    from PIL import UnidentifiedImageError

    try:
        picture = alike(opened(read(), values["mode"]), values)
    except UnidentifiedImageError:
        return None, f"`{name}` is no picture that can be read"
    except Exception as error:  # whatever a broken file makes Pillow say
        return None, f"`{name}` is no picture that can be read: {error}"
    parts = PurePosixPath(name)
    label = parts.parts[0] if len(parts.parts) > 1 else ""
    rows, seen = [], []
    for copy, place in enumerate(places):
        made = picture if copy == 0 else varied(picture, values, name, copy)
        path = PurePosixPath(place)
        save(made, out / path, values["format"])
        rows.append([path.as_posix(), name, label, copy, made.width, made.height])
        seen.append(sums(made))
    return (rows, seen), None


def main():
    options = arguments()
    try:
        from PIL import Image
    except ImportError as error:
        sys.exit(f"the environment of this step has no Pillow ({error}): add `pillow` to its requirements")
    Image.MAX_IMAGE_PIXELS = MOST_PIXELS
    values = json.loads(options.values.read_text())
    pictures = found(options.pictures)
    if not pictures:
        sys.exit("there is no picture: none has an ending of one, such as .png or .jpg")
    if options.images.exists():
        shutil.rmtree(options.images)
    options.images.mkdir(parents=True)
    with ThreadPoolExecutor(max_workers=max(options.cores, 1)) as pool:
        places = placed([name for name, _ in pictures], values)
        done = list(pool.map(lambda one: work(*one, places[one[0]], options.images, values), pictures))
    rows, totals, broken = [], {}, []
    for made, error in done:
        if error:
            broken.append(error)
            continue
        rows.extend(made[0])
        for picture in made[1]:
            for channel, three in enumerate(picture):
                totals[channel] = tuple(map(sum, zip(totals.get(channel, (0, 0, 0)), three)))
    for error in broken:
        print(error, file=sys.stderr)
    if broken and values["on_broken"] == "fail":
        sys.exit(f"{len(broken)} of {len(pictures)} files are no pictures, first {broken[0]}")
    if not rows:
        sys.exit("no file could be read")
    if options.index:
        with options.index.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(["path", "source", "label", "copy", "width", "height"])
            writer.writerows(rows)
    metrics = {"pictures": len(pictures) - len(broken), "written": len(rows), "broken": len(broken)}
    names = ["red", "green", "blue"] if len(totals) == 3 else ["gray"]
    for channel, (count, total, squares) in sorted(totals.items()):
        mean = total / count
        metrics[f"mean_{names[channel]}"] = mean / 255
        metrics[f"deviation_{names[channel]}"] = max(squares / count - mean * mean, 0) ** 0.5 / 255
    options.metrics.write_text(json.dumps(metrics))


if __name__ == "__main__":
    main()
