//! Transposed 2-D convolution.

use crate::engine::ops::ConvTranspose2d;

/// Every input pixel adds its values, times the weights, to a window of the output, as `torch.nn.functional.conv_transpose2d`:
///
/// ```text
/// y[n, iy * stride + ky - padding, ix * stride + kx - padding, o] += x[n, iy, ix, i] * weight[i, o, ky, kx]
/// ```
///
/// `x` `[N, H, W, I]`, `weight` `[I, O, KH, KW]`, `bias` `[O]`, result `[N, OH, OW, O]`; empty where the sizes give no output
/// ([`ConvTranspose2d::output_size`]).
pub fn conv_transpose2d(
    x: &[f32],
    [images, height, width, inputs]: [usize; 4],
    weight: &[f32],
    [_, outputs, kh, kw]: [usize; 4],
    bias: &[f32],
    op: &ConvTranspose2d,
) -> Vec<f32> {
    let Some([out_height, out_width]) = op.output_size([height, width], [kh, kw]) else { return Vec::new() };
    let bias: Vec<f64> = bias.iter().map(|&v| f64::from(v)).collect();
    let mut sums = bias.repeat(images * out_height * out_width);
    // The place of a tap along an axis; `None` beyond the image.
    let place = |axis: usize, index: usize, tap: usize, size: usize| {
        (index * op.stride[axis] + tap).checked_sub(op.padding[axis]).filter(|&place| place < size)
    };
    for (pixel, values) in x.chunks_exact(inputs.max(1)).enumerate() {
        let (image, iy, ix) = (pixel / width / height, pixel / width % height, pixel % width);
        for (ky, kx) in (0..kh).flat_map(|ky| (0..kw).map(move |kx| (ky, kx))) {
            let (Some(oy), Some(ox)) = (place(0, iy, ky, out_height), place(1, ix, kx, out_width)) else {
                continue;
            };
            let sums = &mut sums[((image * out_height + oy) * out_width + ox) * outputs..][..outputs];
            for (i, &value) in values.iter().enumerate() {
                for (o, sum) in sums.iter_mut().enumerate() {
                    let tap = ((i * outputs + o) * kh + ky) * kw + kx;
                    *sum += f64::from(value) * f64::from(weight[tap]);
                }
            }
        }
    }
    sums.into_iter().map(|sum| sum as f32).collect()
}

#[cfg(test)]
mod tests {
    use super::super::conv2d::conv2d;
    use super::super::test_data::{assert_close, values};
    use super::*;
    use crate::engine::ops::{Conv2d, Padding};

    const PLAIN: ConvTranspose2d =
        ConvTranspose2d { stride: [1; 2], padding: [0; 2], output_padding: [0; 2] };

    #[test]
    fn pixels_spread_over_windows() {
        let (x, weight) = ([1.0, 10.0], [1.0, 2.0, 3.0]);
        let row =
            |op: ConvTranspose2d| conv_transpose2d(&x, [1, 1, 2, 1], &weight, [1, 1, 1, 3], &[0.5], &op);
        assert_eq!(row(PLAIN), [1.5, 12.5, 23.5, 30.5]);
        assert_eq!(row(ConvTranspose2d { stride: [1, 2], ..PLAIN }), [1.5, 2.5, 13.5, 20.5, 30.5]);
        let op = ConvTranspose2d { stride: [1, 2], padding: [0, 1], ..PLAIN };
        assert_eq!(row(op), [2.5, 13.5, 20.5]);
        assert_eq!(row(ConvTranspose2d { output_padding: [0, 1], ..op }), [2.5, 13.5, 20.5, 30.5]);
        // No tap reaches the third column.
        let op = ConvTranspose2d { stride: [1, 4], ..PLAIN };
        assert_eq!(row(op), [1.5, 2.5, 3.5, 0.5, 10.5, 20.5, 30.5]);
    }

    #[test]
    fn weights_come_by_input_then_output() {
        // Two inputs, three outputs, 2x1 taps.
        let weight: Vec<f32> = (0..12).map(|v| v as f32).collect();
        let y = conv_transpose2d(&[1.0, 100.0], [1, 1, 1, 2], &weight, [2, 3, 2, 1], &[0.0; 3], &PLAIN);
        assert_eq!(y, [600.0, 802.0, 1004.0, 701.0, 903.0, 1105.0]);
    }

    /// What "transposed" means: `<conv(u), v> = <u, conv_transpose(v)>` for all images.
    #[test]
    fn it_is_the_transpose_of_the_convolution() {
        let (images, inputs, outputs, stride, padding) = (2, 3, 4, [2, 3], [1, 0]);
        let (u_shape, kernel) = ([images, 7, 9, inputs], [3, 2]);
        let conv =
            Conv2d { stride, padding: Padding { top: 1, bottom: 1, left: 0, right: 0 }, ..Conv2d::default() };
        let weight_shape = [outputs, inputs, kernel[0], kernel[1]];
        let weight = values(weight_shape.iter().product(), 1);
        let u = values(u_shape.iter().product(), 2);
        let forward = conv2d(&u, u_shape, &weight, weight_shape, &[0.0; 4], None, &conv);
        let [height, width] = conv.output_size([7, 9], kernel).unwrap();
        let v = values(forward.len(), 3);
        let op = ConvTranspose2d { stride, padding, output_padding: [0, 1] };
        let v_shape = [images, height, width, outputs];
        let back = conv_transpose2d(&v, v_shape, &weight, weight_shape, &[0.0; 3], &op);
        assert_eq!(back.len(), u.len());
        let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f32>();
        assert_close(&[dot(&forward, &v)], &[dot(&u, &back)], 1e-4);
    }
}
