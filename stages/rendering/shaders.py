"""The two programs in GLSL. Light is computed linearly and written as sRGB, multiplied by alpha."""

VERTEX = """
#version 330 core
layout(location = 0) in vec3 position;
layout(location = 1) in vec3 normal;
layout(location = 2) in vec4 uv;
layout(location = 3) in vec4 color;
layout(location = 4) in vec3 emission;
uniform mat4 clip_from_world;
out vec3 frag_position;
out vec3 frag_normal;
out vec4 frag_uv;
out vec4 frag_color;
out vec3 frag_emission;
void main() {
    gl_Position = clip_from_world * vec4(position, 1.0);
    frag_position = position;
    frag_normal = normal;
    frag_uv = uv;
    frag_color = color;
    frag_emission = emission;
}
"""

# light: base + slope . n is between 0.35 and 1 for any direction n, and differs for all six sides of a box
FRAGMENT = """
#version 330 core
in vec3 frag_position;
in vec3 frag_normal;
in vec4 frag_uv;
in vec4 frag_color;
in vec3 frag_emission;
uniform sampler2D color_texture;
uniform sampler2D emission_texture;
uniform vec3 eye;
uniform float light_base;
uniform vec3 light_slope;
uniform float cutoff;      // fragments below are not there; 0 keeps all
uniform float ceiling;     // fragments from here on belong to another pass; above 1 keeps all
uniform bool opaque;
uniform bool textured;      // looking a texture up costs a software driver most of its time
uniform bool glowing;
out vec4 pixel;

vec3 srgb(vec3 light) {
    return mix(light * 12.92, 1.055 * pow(light, vec3(1.0 / 2.4)) - 0.055, step(0.0031308, light));
}

void main() {
    vec4 base = frag_color;
    if (textured) base *= texture(color_texture, frag_uv.xy);
    if (base.a < cutoff || base.a >= ceiling) discard;
    vec3 facing = cross(dFdx(frag_position), dFdy(frag_position));
    facing *= sign(dot(facing, eye - frag_position));
    vec3 n = dot(frag_normal, frag_normal) > 1e-8 ? frag_normal : facing;
    if (dot(n, facing) < 0.0) n = -n;
    float size = length(n);
    float light = light_base + (size > 0.0 ? dot(light_slope, n) / size : 0.0);
    vec3 color = base.rgb * light;
    if (glowing) color += frag_emission * texture(emission_texture, frag_uv.zw).rgb;
    float alpha = opaque ? 1.0 : clamp(base.a, 0.0, 1.0);
    pixel = vec4(srgb(clamp(color, 0.0, 1.0)) * alpha, alpha);
}
"""

DEPTH_FRAGMENT = """
#version 330 core
in vec4 frag_uv;
in vec4 frag_color;
uniform sampler2D color_texture;
uniform float cutoff;
void main() {
    if (cutoff > 0.0 && frag_color.a * texture(color_texture, frag_uv.xy).a < cutoff) discard;
}
"""
