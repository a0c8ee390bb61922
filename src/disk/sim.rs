//! To come.
/// To come.
#[derive(Debug)]
pub struct SimDisk;
/// To come.
#[derive(Debug)]
pub struct SimFault;
/// To come.
#[derive(Debug)]
pub struct SimOp;
