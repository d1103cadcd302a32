// The sizes of additive attention: `rows` queries of `query_width` values, of which `rows_per_image` look at each image, and images of
// `pixels` pixels of `width` values.

struct Params {
    rows: u32, rows_per_image: u32, pixels: u32, width: u32, query_width: u32,
}

@group(0) @binding(0) var<uniform> p: Params;

// Block of channels, first row within the image, and image of workgroup `number`, given the sizes of blocks.
fn context_place(number: u32, channels: u32, rows: u32) -> vec3<u32> {
    let across = (p.width + channels - 1u) / channels;
    let down = (p.rows_per_image + rows - 1u) / rows;
    let block = number / across;
    let image = block / down;
    return vec3(number - block * across, (block - image * down) * rows, image);
}
