//! Captioners, their options, and captions.

mod captioner;
mod formatter;
mod hypotheses;
mod options;
mod planning;
mod prewarm;
mod ticket;

pub use captioner::{Backend, Captioner};
pub use formatter::{Alternative, Caption, SeenTag, Timings, Token};
pub use options::CaptionOptions;
pub use planning::{caption_graph, caption_plan, required_limits};
pub use prewarm::Prewarm;
pub use ticket::Ticket;
