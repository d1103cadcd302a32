// The sizes of additive attention: `rows` queries of `query_width` values, of which `rows_per_image` look at each image, and images of
// `pixels` pixels of `width` values.

struct Params {
    rows: u32, rows_per_image: u32, pixels: u32, width: u32, query_width: u32,
}

@group(0) @binding(0) var<uniform> p: Params;
