//! Tensors one behind the other.

use crate::engine::graph::Data;

/// The values and sizes of tensors, one behind the other along `axis`, as a tensor of `sizes`.
pub fn concat(parts: &[(&Data, &[usize])], sizes: &[usize], axis: usize) -> Data {
    let dtype = parts[0].0.dtype();
    let outer: usize = sizes[..axis].iter().product();
    let mut bytes = Vec::new();
    for row in 0..outer {
        for (data, sizes) in parts {
            let width = dtype.size() * sizes[axis..].iter().product::<usize>();
            bytes.extend_from_slice(&data.bytes()[row * width..(row + 1) * width]);
        }
    }
    Data::from_bytes(dtype, &bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn in_closed_form() {
        let [a, b] = [vec![1, 2, 3, 4], vec![5, 6]].map(Data::U32);
        assert_eq!(concat(&[(&a, &[2, 2]), (&b, &[1, 2])], &[3, 2], 0), Data::U32(vec![1, 2, 3, 4, 5, 6]));
        assert_eq!(concat(&[(&a, &[2, 2]), (&b, &[2, 1])], &[2, 3], 1), Data::U32(vec![1, 2, 5, 3, 4, 6]));
        let three = [(&b, &[1, 2, 1][..]), (&a, &[1, 2, 2]), (&b, &[1, 2, 1])];
        assert_eq!(concat(&three, &[1, 2, 4], 2), Data::U32(vec![5, 1, 2, 5, 6, 3, 4, 6]));
    }
}
