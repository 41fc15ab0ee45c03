"""What the stand-in's sensors see: schematic, but one geometry for every camera and LiDAR.

    scene = Scene(town)                      # cheap: imports and builds nothing heavy
    scene.warm()                             # optional, from any thread: Open3D and the town's triangles
    frame = scene.frame(objects, lights)     # once a tick, after everything has moved
    image = render_rgb(frame, camera, world_from_camera, weather)       # uint8 (H, W, 4), B G R A
    image = render_depth(frame, camera, world_from_camera)
    image = render_semantic(frame, camera, world_from_camera)
    scan = lidar.scan(frame, world_from_lidar, delta_s)                 # Lidar or SemanticLidar

`objects` is an `objects.Objects` (arrays, one row for each vehicle, walker or prop), `lights` the state of
each of `town.lights`, poses are `carlad.wire.types.Transform`, `camera` and `lidar` come from a blueprint's
attribute values: `CameraModel.from_attributes(values)`, `Lidar(LidarModel.from_attributes(values))`.

Everything is in CARLA's frame: metres and degrees, x forward, y right, z up (left-handed), positive yaw
clockwise from above, positive pitch nose up. Surfaces are seen from their outside only, so a camera inside a
vehicle's body looks out of it.
"""
