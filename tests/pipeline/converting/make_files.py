"""Make files for the converter, with bpy: PYTHON make_files.py FOLDER TEXTURE OUTSIDE.

box.fbx, box.dae, box.usdc and box.blend have the texture, which is in FOLDER; outside.blend has OUTSIDE, which is not,
and scripts.blend has a script that removes the box, and a driver that moves it along x. camera.blend has no mesh.
"""

import os
import sys

import bpy

folder, texture, outside = sys.argv[1:]


def box(image: str) -> "bpy.types.Object":
    bpy.ops.wm.read_factory_settings(use_empty=True)
    bpy.ops.mesh.primitive_cube_add(location=(0, 0, 5), scale=(1, 2, 3))
    added = bpy.context.object
    material = bpy.data.materials.new("paint")
    material.use_nodes = True
    nodes = material.node_tree
    picture = nodes.nodes.new("ShaderNodeTexImage")
    picture.image = bpy.data.images.load(image)
    nodes.links.new(picture.outputs["Color"], nodes.nodes["Principled BSDF"].inputs["Base Color"])
    added.data.materials.append(material)
    return added


def save(name: str) -> None:
    bpy.ops.wm.save_as_mainfile(filepath=os.path.join(folder, name), relative_remap=False)


box(texture)
bpy.ops.export_scene.fbx(filepath=os.path.join(folder, "box.fbx"))
bpy.ops.wm.collada_export(filepath=os.path.join(folder, "box.dae"))
bpy.ops.wm.usd_export(filepath=os.path.join(folder, "box.usdc"), export_textures_mode="KEEP")
bpy.ops.object.camera_add()
bpy.ops.object.light_add()
save("box.blend")

box(outside)
save("outside.blend")

scripted = box(texture)
text = bpy.data.texts.new("start.py")
text.write("import bpy\nbpy.data.objects.remove(bpy.data.objects[0])")
text.use_module = True
driver = scripted.driver_add("location", 0).driver
driver.type = "SCRIPTED"
driver.expression = "len(bpy.data.filepath)"  # 0 as long as it has no file
save("scripts.blend")

bpy.ops.wm.read_factory_settings(use_empty=True)
bpy.ops.object.camera_add()
save("camera.blend")
