#!/usr/bin/env python3
"""Makes jpegs.tar: JPEGs of many encodings by libjpeg-turbo's cjpeg, each with the pixels that its
djpeg makes of it. Needs libjpeg-turbo-progs and Pillow. Names are <size>-<sampling>-<scans>-<restart
interval in MCUs>.jpg; pixels depend on size and sampling alone, and are <size>-<sampling>.png."""

import io
import math
import subprocess
import tarfile

from PIL import Image

SCANS = {
    "whole": [],
    "separate": ["-scans", "separate.txt"],
    "mixed": ["-scans", "mixed.txt"],
    "progressive": ["-progressive"],
}
SAMPLINGS = ["1x1", "2x1", "2x2", "1x2", "4x1", "2x1,1x2,1x1"]
files = {}
pixels = {}


def picture(width, height):
    image = Image.new("RGB", (width, height))
    for y in range(height):
        for x in range(width):
            red = int(40 + 180 * x / max(width - 1, 1))
            green = int(220 - 170 * y / max(height - 1, 1))
            blue = int(128 + 90 * math.sin((x + 2 * y) / 9))
            image.putpixel((x, y), (red, green, blue))
    return image


def encode(source, kind, scans, restart, options):
    command = ["cjpeg", "-quality", "92", "-dct", "int", *options, *SCANS[scans]]
    if restart:
        command += ["-restart", f"{restart}B"]
    jpeg = subprocess.run([*command, source], capture_output=True, check=True).stdout
    decode = ["djpeg", "-dct", "int"]
    decoded = subprocess.run(decode, input=jpeg, capture_output=True, check=True).stdout
    assert pixels.setdefault(kind, decoded) == decoded, kind
    png = io.BytesIO()
    Image.open(io.BytesIO(decoded)).save(png, "PNG", optimize=True)
    files[f"{kind}-{scans}-{restart}.jpg"] = jpeg
    files[f"{kind}.png"] = png.getvalue()


open("separate.txt", "w").write("0;\n1;\n2;\n")
open("mixed.txt", "w").write("0;\n1 2;\n")
for width, height in [(1, 1), (8, 8), (17, 9), (33, 26)]:
    size = f"{width}x{height}"
    picture(width, height).save("in.ppm")
    picture(width, height).convert("L").save("in.pgm")
    is_largest = (width, height) == (33, 26)
    for sampling in SAMPLINGS:
        for scans in SCANS:
            for restart in [0, 1, 3]:
                if (restart == 3 or "," in sampling) and not is_largest:
                    continue
                if restart and width == 1:
                    continue
                kind = f"{size}-{sampling.replace(',', '+')}"
                encode("in.ppm", kind, scans, restart, ["-sample", sampling])
    for scans in ["whole", "progressive"]:
        encode("in.pgm", f"{size}-grey", scans, 0, ["-sample", "2x2"])

with tarfile.open("jpegs.tar", "w") as archive:
    for name, content in sorted(files.items()):
        entry = tarfile.TarInfo(name)
        entry.size = len(content)
        archive.addfile(entry, io.BytesIO(content))
