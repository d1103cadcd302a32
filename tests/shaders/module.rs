//! A variant of a shader, as parsed by naga.

use naga::valid::{Capabilities, ValidationFlags, Validator};
use naga::{AddressSpace, Expression, Handle, Literal, Module, StorageAccess, TypeInner};
use shadetell::engine::gpu::source::assemble_with_origins;
use shadetell::engine::ops::SHADERS;
use shadetell::engine::plan::Shader;
use std::fmt;

/// A variant of a shader, parsed and validated.
pub(crate) struct Variant {
    pub(crate) shader: &'static Shader,
    defines: &'static [&'static str],
    module: Module,
}

/// A storage variable.
pub(crate) struct Storage {
    pub(crate) binding: u32,
    pub(crate) is_written: bool,
}

/// Every variant of every shader, or its error.
pub(crate) fn variants() -> Vec<Result<Variant, String>> {
    let all =
        SHADERS.iter().flat_map(|&shader| shader.variants.iter().map(move |&defines| (shader, defines)));
    all.map(|(shader, defines)| Variant::read(shader, defines)).collect()
}

impl Variant {
    /// Parses and validates for a device without any optional feature but subgroups.
    pub(crate) fn read(shader: &'static Shader, defines: &'static [&'static str]) -> Result<Variant, String> {
        let (text, origins) = assemble_with_origins(shader.name, shader.source, defines)?;
        let at = |line: Option<u32>| {
            let origin = line.and_then(|line| origins.get(line as usize - 1));
            origin.map_or_else(|| format!("{}.wgsl", shader.name), Clone::clone)
        };
        let module = naga::front::wgsl::parse_str(&text).map_err(|error| {
            let line = error.location(&text).map(|l| l.line_number);
            format!("{}: {defines:?} {}", at(line), error.emit_to_string(&text))
        })?;
        // Every WebGPU device can unpack 16-bit floats from words; other capabilities are optional.
        let capabilities =
            Capabilities::SUBGROUP | Capabilities::SHADER_INT64 | Capabilities::SHADER_FLOAT16_IN_FLOAT32;
        let mut validator = Validator::new(ValidationFlags::all(), capabilities);
        validator.validate(&module).map_err(|error| {
            let line = error.location(&text).map(|l| l.line_number);
            format!("{}: {defines:?} {}", at(line), error.emit_to_string(&text))
        })?;
        let entries: Vec<&str> = module.entry_points.iter().map(|e| e.name.as_str()).collect();
        if entries != ["main"] {
            return Err(format!("{}: {defines:?} entry points are {entries:?}", at(None)));
        }
        Ok(Variant { shader, defines, module })
    }

    /// Names and byte offsets of the members of the uniform `Params`, all of which have to be 32-bit words.
    pub(crate) fn params(&self) -> Result<Vec<(String, u32)>, String> {
        let uniform = self.module.global_variables.iter().find(|(_, v)| v.space == AddressSpace::Uniform);
        let (_, variable) = uniform.ok_or("there is no uniform variable")?;
        let ty = &self.module.types[variable.ty];
        let TypeInner::Struct { members, .. } = &ty.inner else {
            return Err("the uniform is no struct".to_owned());
        };
        if ty.name.as_deref() != Some("Params") {
            return Err(format!("the uniform is a {:?}", ty.name));
        }
        let word = |member: &naga::StructMember| {
            let name = member.name.clone().unwrap_or_default();
            match self.module.types[member.ty].inner {
                TypeInner::Scalar(scalar) if scalar.width == 4 => Ok((name, member.offset)),
                _ => Err(format!("{name} is not a 32-bit word")),
            }
        };
        members.iter().map(word).collect()
    }

    /// The storage variables by binding.
    pub(crate) fn storage(&self) -> Vec<Storage> {
        let mut found: Vec<Storage> = self
            .module
            .global_variables
            .iter()
            .filter_map(|(_, variable)| match variable.space {
                AddressSpace::Storage { access } => Some(Storage {
                    binding: variable.binding.map_or(u32::MAX, |b| b.binding),
                    is_written: access.contains(StorageAccess::STORE),
                }),
                _ => None,
            })
            .collect();
        found.sort_by_key(|s| s.binding);
        found
    }

    /// Binding 0 of group 0 is the uniform, 1, 2, 3 ... are storage, and nothing else is bound.
    pub(crate) fn check_bindings(&self) -> Result<(), String> {
        for (_, variable) in self.module.global_variables.iter() {
            let name = variable.name.as_deref().unwrap_or("?");
            match (variable.space, variable.binding) {
                (AddressSpace::Uniform, Some(b)) if (b.group, b.binding) == (0, 0) => {}
                (AddressSpace::Storage { .. }, Some(b)) if b.group == 0 => {}
                (AddressSpace::WorkGroup, None) => {}
                (space, binding) => return Err(format!("{name} is {space:?} at {binding:?}")),
            }
        }
        let numbers: Vec<u32> = self.storage().iter().map(|s| s.binding).collect();
        let expected: Vec<u32> = (1..).take(numbers.len()).collect();
        if numbers == expected { Ok(()) } else { Err(format!("storage is bound at {numbers:?}")) }
    }

    /// Bytes of workgroup memory.
    pub(crate) fn workgroup_bytes(&self) -> u32 {
        let variables =
            self.module.global_variables.iter().filter(|(_, v)| v.space == AddressSpace::WorkGroup);
        variables.map(|(_, v)| self.module.types[v.ty].inner.size(self.module.to_ctx())).sum()
    }

    /// The names of the `override` constants.
    pub(crate) fn overrides(&self) -> Vec<String> {
        self.module.overrides.iter().map(|(_, o)| o.name.clone().unwrap_or_default()).collect()
    }

    /// The invocations of a workgroup for these values of the `override` constants.
    pub(crate) fn invocations(&self, constants: &[(&str, u32)]) -> u32 {
        let entry = &self.module.entry_points[0];
        let overrides = entry.workgroup_size_overrides.unwrap_or([None; 3]);
        let sizes = entry.workgroup_size.iter().zip(overrides);
        sizes.map(|(&size, expression)| expression.map_or(size, |e| self.evaluate(e, constants))).product()
    }

    fn evaluate(&self, expression: Handle<Expression>, constants: &[(&str, u32)]) -> u32 {
        match self.module.global_expressions[expression] {
            Expression::Literal(Literal::U32(value)) => value,
            Expression::Literal(Literal::I32(value)) => value.cast_unsigned(),
            Expression::Override(handle) => {
                let constant = &self.module.overrides[handle];
                let given = constants.iter().find(|c| Some(c.0) == constant.name.as_deref());
                let default = || constant.init.map_or(0, |init| self.evaluate(init, &[]));
                given.map_or_else(default, |c| c.1)
            }
            ref other => panic!("{self}: a workgroup size is {other:?}"),
        }
    }
}

impl fmt::Display for Variant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "shaders/{}.wgsl {:?}", self.shader.name, self.defines)
    }
}
