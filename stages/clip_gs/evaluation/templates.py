"""Templates for a class's name. `{}` becomes the name, `{a}` the name with "a" or "an" before it."""

from __future__ import annotations

from collections.abc import Iterable

# For things that stand alone, made, drawn or scanned.
OBJECTS = (
    "{}",
    "{a}",
    "{a}.",
    "this is {a}.",
    "it is {a}.",
    "one {}",
    "a single {}",
    "the object is {a}.",
    "the thing shown is {a}.",
    "an object: {a}",
    "a 3D model of {a}",
    "a 3D model of {a}, seen whole",
    "a small 3D model of {a}",
    "a simple 3D model of {a}",
    "a detailed 3D model of {a}",
    "a coloured 3D model of {a}",
    "a textured 3D model of {a}",
    "a low-poly model of {a}",
    "a digital model of {a}",
    "a computer model of {a}",
    "a 3D asset: {a}",
    "{a}, as a 3D asset",
    "{a} from a game",
    "{a} made for a game",
    "a mesh of {a}",
    "a textured mesh of {a}",
    "a point cloud of {a}",
    "a coloured point cloud of {a}",
    "a Gaussian splat of {a}",
    "3D Gaussians in the shape of {a}",
    "a scan of {a}",
    "a 3D scan of {a}",
    "a reconstruction of {a}",
    "a 3D shape of {a}",
    "the shape of {a}",
    "the form of {a}",
    "something in the shape of {a}",
    "a solid {}",
    "a rendering of {a}",
    "a render of {a} on white",
    "a render of {a} before an empty background",
    "a computer-generated picture of {a}",
    "a picture of {a}",
    "a picture of one {}",
    "a clear picture of {a}",
    "a small picture of {a}",
    "a photo of {a}",
    "a photo of {a} on a white table",
    "a product photo of {a}",
    "a studio photo of {a}",
    "a catalogue picture of {a}",
    "{a} by itself",
    "{a} on its own",
    "{a} on a white background",
    "{a} without anything around it",
    "{a} turned a little to the side",
    "{a} from the front",
    "{a} from above",
    "{a} seen from all sides",
    "a view of {a}",
    "a toy {}",
    "a miniature of {a}",
    "a usual {}",
    "an ordinary {}",
)

# For an attribute, such as a colour; {kind} becomes every class in turn, and "object".
LOOKS = ("{} {kind}", "{a} {kind}", "a 3D model of {a} {kind}", "a picture of {a} {kind}")


class TemplateError(Exception):
    """Templates cannot be used. The message is one line that says why."""


def filled(template: str, name: str) -> str:
    article = "an" if name[:1].lower() in "aeiou" else "a"
    return template.replace("{a}", f"{article} {name}").replace("{}", name)


def parse(lines: Iterable[str], source: str) -> list[str]:
    """Read one template per line; skip empty lines. `source` is named in errors."""
    found = [line.strip() for line in lines if line.strip()]
    if not found:
        raise TemplateError(f"{source}: no templates; expected one per line, such as: a photo of a {{}}")
    for template in found:
        if "{}" not in template and "{a}" not in template:
            raise TemplateError(f"{source}: {template!r} does not contain {{}} or {{a}}, which stand for the name")
    return found
