"""What the graphics card runs to draw a frame: GLSL 3.30.

Every surface has a row in the frame's tables, and so has the sky. Pixels are words of B, G, R, A, as the
images' bytes lie, written as integers: no rounding is left to the driver.
"""

from __future__ import annotations

NEAR_M = 0.1  # at least, as the real cameras' near plane
TABLE_WIDTH = 4096  # a table of words is a texture of that many columns

_SEEN = """
uniform vec3 eye;
uniform mat3 turn;  // columns: the camera's forward, right and up
uniform vec2 scale;
uniform float near_m;
flat out uint surface;
flat out uint lit;  // its colour, or 0: it is in the table
out float along;
out vec3 direction;
void see(vec3 place) {
    vec3 seen = (place - eye) * turn;
    along = seen.x;
    direction = vec3(0.0);
    gl_Position = vec4(seen.y * scale.x, -seen.z * scale.y, seen.x - 2.0 * near_m, seen.x);
}
"""
_PACKED = """
uint packed_word(uvec3 color) { return color.b | color.g << 8 | color.r << 16 | 0xFF000000u; }
"""

# A town's triangles.
SURFACE = f"""#version 330
in vec3 place;
in uint row;
{_SEEN}
void main() {{
    surface = row;
    lit = 0u;
    see(place);
}}
"""

# Shapes in the unit box, one instance for each object.
OBJECT = f"""#version 330
in vec3 corner;
in vec3 outward;
in vec4 own_color;  // 0 to 255; w is 1 where the object's paint takes its place
in uint row;
in vec3 at;
in vec3 pitch_yaw_roll;
in vec3 center;
in vec3 extent;
in vec3 paint;
in uint first;
uniform vec3 to_sun;
uniform vec3 sun;
uniform vec3 ambient;
{_SEEN}{_PACKED}
mat3 world_from_actor() {{
    vec3 c = cos(radians(pitch_yaw_roll)), s = sin(radians(pitch_yaw_roll));
    return mat3(
        c.x * c.y, c.x * s.y, s.x,
        c.y * s.x * s.z - s.y * c.z, s.y * s.x * s.z + c.y * c.z, -c.x * s.z,
        -c.y * s.x * c.z - s.y * s.z, -s.y * s.x * c.z + c.y * s.z, c.x * c.z);
}}
void main() {{
    mat3 turned = world_from_actor();
    vec3 normal = turned * normalize(outward / extent);
    vec3 light = (0.8 + 0.2 * normal.z) * ambient + max(dot(normal, to_sun), 0.0) * sun;
    surface = first + row;
    lit = packed_word(uvec3(clamp(mix(own_color.rgb, paint, own_color.w) * light, 0.0, 255.0)));
    see(at + turned * (corner * extent + center));
}}
"""

# One triangle that covers the image, behind everything.
SKY = """#version 330
uniform uint sky;
uniform mat3 turn;
uniform vec2 scale;
flat out uint surface;
flat out uint lit;
out float along;
out vec3 direction;
void main() {
    vec2 corner = vec2(gl_VertexID == 1 ? 3.0 : -1.0, gl_VertexID == 2 ? 3.0 : -1.0);
    surface = sky;
    lit = 0u;
    along = 1.0 / 0.0;
    direction = turn * vec3(1.0, corner.x / scale.x, -corner.y / scale.y);
    gl_Position = vec4(corner, 1.0, 1.0);
}
"""

_INPUT = """#version 330
flat in uint surface;
flat in uint lit;
in float along;
in vec3 direction;
"""
_LOOK_UP = f"""
uniform usampler2D words;
uint word() {{ return texelFetch(words, ivec2(surface % {TABLE_WIDTH}u, surface / {TABLE_WIDTH}u), 0).r; }}
"""

HITS = f"""{_INPUT}
layout(location = 0) out uint hit;
layout(location = 1) out float distance_m;
void main() {{
    hit = surface;
    distance_m = along;
}}
"""

LABELS = f"""{_INPUT}{_LOOK_UP}
out uint pixel;
void main() {{ pixel = word(); }}
"""

DEPTH = f"""{_INPUT}
uniform float steps_per_m;
uniform float steps_max;
out uint pixel;
void main() {{
    uint steps = uint(min(along * steps_per_m, steps_max));
    pixel = (steps & 255u) << 16 | (steps & 0xFF00u) | steps >> 16 | 0xFF000000u;
}}
"""

COLORS = f"""{_INPUT}{_LOOK_UP}{_PACKED}
uniform uint sky;
uniform vec3 horizon;  // R, G, B in [0, 255]
uniform vec3 zenith;
uniform float view_m;
uniform float haze_max_m;
uniform float sky_steps;
out uint pixel;
void main() {{
    if (surface == sky) {{
        float upward = normalize(direction).z;
        float level = floor(clamp(upward * sky_steps, 0.0, sky_steps - 1.0));
        float share = pow(level / (sky_steps - 1.0), 0.6);
        pixel = packed_word(uvec3(clamp(mix(horizon, zenith, share), 0.0, 255.0)));
        return;
    }}
    uint bare = lit == 0u ? word() : lit;
    uint haze = uint(256.0 * (1.0 - exp(-floor(min(along, haze_max_m)) / view_m)));
    uvec3 color = uvec3(bare >> 16 & 255u, bare >> 8 & 255u, bare & 255u);
    uvec3 air = uvec3(clamp(horizon, 0.0, 255.0));
    pixel = packed_word((color * (256u - haze) + air * haze) >> 8);
}}
"""
