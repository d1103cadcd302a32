//! The networks in a file, and what is beside them.

use super::architecture::{self, Network, Renaming, listed, taken};
use super::{CheckpointError, CheckpointErrorKind, StateDict, TensorFile};
use crate::engine::storage::ElementType;
use std::collections::HashSet;

/// A network, and the group of tensors that it is in.
pub(super) struct Part<'f, 'a, T> {
    pub(super) dict: &'f StateDict<'a>,
    pub(super) network: &'f T,
}

/// The groups of tensors of a file, and the networks in them.
pub(super) struct Networks<'a> {
    file: &'a TensorFile,
    groups: Vec<StateDict<'a>>,
    /// All networks, each with the number of its group and whether its prefix is the one that was asked for.
    networks: Vec<(usize, Network, bool)>,
    errors: Vec<CheckpointErrorKind>,
}

/// What no part of a model uses.
pub(super) struct LeftOver {
    /// Layers that could change captions.
    pub(super) layers: Vec<String>,
    /// Tensors of kinds that are not read.
    pub(super) unsupported: Vec<String>,
}

impl<'a> Networks<'a> {
    /// Reads a file. Networks are only chosen if their names begin with `prefix`.
    pub(super) fn read(file: &'a TensorFile, prefix: Option<&str>) -> Result<Networks<'a>, CheckpointError> {
        let groups = file.state_dicts()?;
        let (mut networks, mut errors) = (Vec::new(), Vec::new());
        for (group, dict) in groups.iter().enumerate() {
            let (found, wrong) = architecture::recognise(dict);
            networks.extend(found.into_iter().map(|network| {
                let is_chosen = is_under(dict, network.prefix(), prefix);
                (group, network, is_chosen)
            }));
            errors.extend(wrong);
        }
        Ok(Networks { file, groups, networks, errors })
    }

    /// The name of the file.
    pub(super) fn file(&self) -> &str {
        self.file.file()
    }

    fn error(&self, message: String) -> CheckpointError {
        CheckpointError::new(self.file(), CheckpointErrorKind::Architecture(message))
    }

    /// The only network of a kind; `wanted` is the kind in words.
    pub(super) fn only<T>(
        &self,
        wanted: &'static str,
        choose: impl Fn(&Network) -> Option<&T>,
    ) -> Result<Part<'_, 'a, T>, CheckpointError> {
        let shown = |part: &&(usize, Network, bool)| {
            let (group, network, _) = part;
            match joined(&self.groups[*group].name, network.prefix()) {
                path if path.is_empty() => network.to_string(),
                path => format!("{network} under `{path}`"),
            }
        };
        let chosen =
            self.networks.iter().filter(|(_, network, is_chosen)| *is_chosen && choose(network).is_some());
        let fitting: Vec<_> = chosen.collect();
        if let [(group, network, _)] = fitting.as_slice()
            && let Some(network) = choose(network)
        {
            return Ok(Part { dict: &self.groups[*group], network });
        }
        let listed =
            |parts: &[&(usize, Network, bool)]| listed(&parts.iter().map(shown).collect::<Vec<_>>(), 4);
        if !fitting.is_empty() {
            let kind = CheckpointErrorKind::SeveralNetworks { wanted, found: listed(&fitting) };
            return Err(CheckpointError::new(self.file(), kind));
        }
        if let Some(reason) = self.errors.first() {
            return Err(CheckpointError::new(self.file(), reason.clone()));
        }
        if self.networks.is_empty()
            && let Some(dict) = self.groups.first()
        {
            return Err(CheckpointError::new(self.file(), architecture::nothing_known(dict)));
        }
        let article = if wanted.starts_with('e') { "an" } else { "a" };
        let others: Vec<_> = self.networks.iter().collect();
        Err(self.error(format!("expected {article} {wanted}, found {}", listed(&others))))
    }

    /// What nothing in `used` takes, of the networks' groups, below `prefix`.
    pub(super) fn left_over(&self, used: &[(&StateDict<'a>, &Renaming)], prefix: Option<&str>) -> LeftOver {
        let mut left = LeftOver { layers: Vec::new(), unsupported: Vec::new() };
        for (group, dict) in self.groups.iter().enumerate() {
            let own = used.iter().filter(|(of, _)| std::ptr::eq(*of, dict));
            let own: HashSet<&str> = own.flat_map(|(_, renaming)| taken(renaming)).collect();
            let networks: Vec<&Network> =
                self.networks.iter().filter(|part| part.0 == group).map(|part| &part.1).collect();
            if own.is_empty() && !networks.is_empty() {
                continue;
            }
            let is_own = |network: &&Network| taken(network.tensors()).all(|name| own.contains(name));
            let (chosen, others): (Vec<&Network>, Vec<&Network>) = networks.into_iter().partition(is_own);
            let is_record_group = chosen.is_empty();
            // The module around another network belongs to it.
            let is_others = |name: &str| {
                others.iter().any(|other| {
                    let around = enclosing(other.prefix());
                    let holds_own = chosen.iter().any(|own| own.prefix().starts_with(around));
                    taken(other.tensors()).any(|taken| taken == name)
                        || !holds_own && name.starts_with(around)
                })
            };
            let concerns = |name: &str| {
                !own.contains(name)
                    && is_under(dict, name, prefix)
                    && !is_others(name)
                    && !is_bookkeeping(name)
            };
            let is_classifier = |name: &str| {
                chosen.iter().any(|network| match network {
                    Network::Encoder(encoder) => taken(&encoder.classifier).any(|taken| taken == name),
                    Network::Decoder(_) => false,
                })
            };
            for (name, tensor) in dict.tensors() {
                // Beside networks, a file may hold counters and the states of random generators.
                let is_record =
                    is_record_group && (tensor.shape().is_empty() || !is_float(tensor.element_type()));
                if concerns(name) && !is_classifier(name) && !is_record {
                    left.layers.push(format!("`{}` {:?}", joined(&dict.name, name), tensor.shape()));
                }
            }
            let known = |module: &str| chosen.iter().any(|network| network.has_activation(module));
            for module in dict.modules() {
                let is_activation = module.class.starts_with("torch.nn.modules.activation.");
                if is_activation
                    && concerns(&module.path)
                    && !known(&module.path)
                    && !module.kind().ends_with("Softmax")
                {
                    left.layers.push(format!("`{}` ({})", joined(&dict.name, &module.path), module.kind()));
                }
            }
            let unsupported = dict.unsupported().iter().map(|(name, _)| name).filter(|name| concerns(name));
            left.unsupported.extend(unsupported.map(|name| format!("`{}`", joined(&dict.name, name))));
        }
        left
    }
}

/// A name with the key of its group in front, without dots at the end.
fn joined(group: &str, name: &str) -> String {
    let parts = [group, name.trim_end_matches('.')];
    parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(".")
}

/// The prefix of the module that encloses the one with this prefix.
fn enclosing(prefix: &str) -> &str {
    let module = prefix.trim_end_matches('.');
    module.rfind('.').map_or("", |dot| &module[..=dot])
}

/// Whether a name lies under a prefix, which ends where a part of the name does. The prefix may have the key of the group in front.
pub(super) fn is_under(dict: &StateDict<'_>, name: &str, prefix: Option<&str>) -> bool {
    let prefix = prefix.unwrap_or_default().trim_end_matches('.');
    let begins = |name: &str| {
        prefix.is_empty()
            || name.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    };
    begins(name) || begins(&joined(&dict.name, name))
}

/// Whether a tensor counts batches or averages.
fn is_bookkeeping(name: &str) -> bool {
    let last = name.rsplit('.').next().unwrap_or(name);
    ["num_batches_tracked", "n_averaged"].contains(&last)
}

fn is_float(element: ElementType) -> bool {
    use ElementType::{BF16, F8E4M3, F8E5M2, F16, F32, F64};
    [F64, F32, F16, BF16, F8E4M3, F8E5M2].contains(&element)
}
