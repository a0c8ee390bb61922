//! A service that restarts warm: reports out of an SQLite file, read through emberlog, under load, killed in the middle and started again; and
//! beside it the same service with the same memory, but without the disk tier.
//!
//! `service` is what a user would copy. Everything else stands around it: `load` sends requests on a timetable and checks every answer, `supervisor`
//! starts both as processes of their own (this program, in another role), kills, starts again, and prints what came of it.
//!
//! ```text
//! supervisor ─┬─ service: axum ── emberlog ── SQLite          killed, started again
//!             └─ load: Zipf, open loop ── HTTP ── service     goes on meanwhile
//! ```

#[cfg(not(target_os = "linux"))]
compile_error!("this example reads /proc and has children end with their parent: Linux only");

mod clock;
mod failure;
mod household;
mod load;
mod options;
mod orders;
mod origin;
mod page;
mod process;
mod promises;
mod seconds;
mod service;
mod supervisor;
mod trial;

use std::io::Write;
use std::process::ExitCode;

use failure::Failure;
use options::Role;

fn main() -> ExitCode {
    let done = options::role(lexopt::Parser::from_env()).and_then(|role| match role {
        Role::Help => {
            std::io::stdout()
                .write_all(options::HELP.as_bytes())
                .map_err(|error| Failure::new("cannot print", error))?;
            Ok(true)
        }
        Role::Supervisor(options) => supervisor::run(&options),
        Role::Service(settings) => service::serve(settings).map(|()| true),
        Role::Load(plan) => load::run(&plan).map(|()| true),
    });
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(failure) => {
            // Nobody is left to be told if this cannot be written.
            let _ = writeln!(std::io::stderr(), "warm_service: {failure}");
            ExitCode::from(2)
        }
    }
}
