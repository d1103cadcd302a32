//! The properties of a device that a plan depends on.

/// Which family of kernels suits an adapter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AdapterClass {
    /// A driver that runs shaders on the CPU: a workgroup is one vector of lanes.
    Software,
    /// A GPU: a workgroup fills several subgroups.
    Hardware,
}

/// What the planner needs to know of a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Target {
    /// Its family.
    pub class: AdapterClass,
    /// `maxComputeWorkgroupsPerDimension`.
    pub max_workgroups: u32,
    /// Lanes of each subgroup, where shaders may read from each other's lanes and there are always as many; else 0.
    pub subgroup: u32,
    /// Whether shaders may use subgroups at all, of whatever size.
    pub has_subgroups: bool,
    /// Whether shaders may read 64 bits at a time.
    pub int64: bool,
    /// Whether the CPU behind a software driver has 32 vector registers, rather than 16.
    pub many_registers: bool,
}

impl Target {
    /// The least that WebGPU promises, for the given family.
    pub const fn baseline(class: AdapterClass) -> Target {
        Target {
            class,
            max_workgroups: 65_535,
            subgroup: 0,
            has_subgroups: false,
            int64: false,
            many_registers: false,
        }
    }
}
