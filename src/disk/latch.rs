//! To come.
use crate::sync::Mutex;
/// To come.
#[derive(Debug)]
pub(crate) struct Latch(Mutex<()>);
