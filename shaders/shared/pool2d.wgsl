// What both pooling kernels share: sizes and windows.

struct Params {
    count: u32, channels: u32, in_height: u32, in_width: u32, out_height: u32, out_width: u32,
    kernel_height: u32, kernel_width: u32, stride_height: u32, stride_width: u32,
    pad_top: u32, pad_left: u32, count_include_pad: u32,
}

@group(0) @binding(0) var<uniform> p: Params;

// Rows y0 to y1 - 1 and columns x0 to x1 - 1 of a channel of an image.
struct Window {
    image: u32, y0: u32, y1: u32, x0: u32, x1: u32, channel: u32,
}

// The window of output value `i`, clipped to the image.
fn window_of(i: u32) -> Window {
    let channel = i % p.channels;
    let pixel = i / p.channels;
    let out_x = pixel % p.out_width;
    let out_y = pixel / p.out_width % p.out_height;
    let image = pixel / p.out_width / p.out_height;
    // In the padded image.
    let top = out_y * p.stride_height;
    let left = out_x * p.stride_width;
    return Window(
        image,
        max(top, p.pad_top) - p.pad_top,
        min(top + p.kernel_height - p.pad_top, p.in_height),
        max(left, p.pad_left) - p.pad_left,
        min(left + p.kernel_width - p.pad_left, p.in_width),
        channel,
    );
}

// Index in x of a value of a window.
fn place(window: Window, row: u32, column: u32) -> u32 {
    return ((window.image * p.in_height + row) * p.in_width + column) * p.channels + window.channel;
}
