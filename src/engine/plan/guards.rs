//! Plans whose tensors have guards behind them, for finding kernels that read or write out of bounds.

use super::{ALIGNMENT, Plan, Port};
use crate::engine::graph::Data;
use std::collections::HashMap;
use std::ops::Range;

/// Bytes of a guard.
const GUARD: usize = 1024;

impl Plan {
    /// Gives every tensor a place of its own, followed by a guard that belongs to its binding. Drivers hide accesses behind a
    /// binding; those to a guard show: a kernel that reads it gets NaN, and one that writes it is found by [`Plan::unguarded`].
    ///
    /// Inputs and results become one-dimensional and longer by the guard: see [`Plan::guarded`].
    #[must_use]
    pub fn with_guards(mut self) -> Plan {
        let mut end = ALIGNMENT;
        let mut place = |range: &Range<usize>| {
            let start = end;
            let bytes = range.len().next_multiple_of(4) + GUARD;
            end = (start + bytes).next_multiple_of(ALIGNMENT);
            start..start + bytes
        };
        let outputs: Vec<_> =
            self.ranges.iter().filter(|(_, range)| is_within(range, &self.output_range)).collect();
        let mut moved: HashMap<_, _> = outputs.into_iter().map(|(&id, range)| (id, place(range))).collect();
        let output_end = moved.values().map(|range: &Range<usize>| range.end).max().unwrap_or(ALIGNMENT);
        for (&id, range) in &self.ranges {
            moved.entry(id).or_insert_with(|| place(range));
        }
        for port in self.inputs.iter_mut().chain(&mut self.outputs) {
            if let Some(range) = moved.get(&port.id) {
                port.range = range.clone();
                port.shape = [range.len() / port.dtype.size()].into();
            }
        }
        self.scratch = self.scratch.iter().map(&mut place).collect();
        self.ranges = moved;
        self.arena_bytes = end;
        self.output_range = ALIGNMENT..output_end;
        self
    }

    /// Inputs for a plan with guards, made of those for the plan without: the guards are NaN, ids that no table has, or 255.
    pub fn guarded(&self, inputs: &[Data]) -> Vec<Data> {
        let extended = |(port, data): (&Port, &Data)| {
            let len = port.shape.elements();
            let mut data = data.clone();
            match &mut data {
                Data::F32(values) => values.resize(len, f32::NAN),
                Data::U32(values) => values.resize(len, u32::MAX),
                Data::U8(values) => values.resize(len, u8::MAX),
            }
            data
        };
        self.inputs.iter().zip(inputs).map(extended).collect()
    }

    /// The results of a plan with guards without them; `None` for one whose guard was written.
    pub fn unguarded(&self, outputs: &[Data]) -> Vec<Option<Data>> {
        // Before a run a guard is zero, but for tensors that are handed in.
        let is_given =
            |id| self.constants.contains_key(&id) || self.inputs.iter().any(|input| input.id == id);
        let shortened = |(port, data): (&Port, &Data)| {
            let len = data.bytes().len().checked_sub(GUARD)?;
            let (values, guard) = data.bytes().split_at(len);
            let is_whole = match Data::from_bytes(data.dtype(), guard) {
                _ if !is_given(port.id) => guard.iter().all(|&byte| byte == 0),
                Data::F32(guard) => guard.iter().all(|value| value.is_nan()),
                Data::U32(_) | Data::U8(_) => guard.iter().all(|&byte| byte == u8::MAX),
            };
            is_whole.then(|| Data::from_bytes(data.dtype(), values))
        };
        self.outputs.iter().zip(outputs).map(shortened).collect()
    }
}

fn is_within(range: &Range<usize>, outer: &Range<usize>) -> bool {
    outer.start <= range.start && range.end <= outer.end
}
