//! What a worker takes from itself before it sees its first policy.
//!
//! All of it is for the whole process and cannot be taken back by it, but for the time, which is granted job by job. It is
//! a second line: policies have no built-in that reaches outside. A way out through a defect of the engine would lead into
//! a process without files, sockets, children, environment and privileges.

use std::{fs, io};

use rustix::{
    process::{Resource, Rlimit, getrlimit, setrlimit},
    time::{ClockId, clock_gettime},
};

/// How much memory a worker may take beside what it has at its start. Judging a change of a hundred thousand files takes
/// half of it, and so little that a server of 512 MiB outlives a policy that wants all. What `malloc` reserves for a thread
/// counts as well.
const MEMORY_BYTES_MAX: u64 = 256 * 1024 * 1024;
/// What a worker is thought to have at its start where the system does not say.
const MAPPED_BYTES_UNKNOWN: u64 = 512 * 1024 * 1024;
/// How much longer than its server waits a worker may use the processor.
const PROCESSOR_GRACE_SECONDS: u64 = 2;

/// Closes what the server itself was started with beside standard input, output and error: what it opened is not inherited.
/// To be called before anything is opened.
pub(crate) fn close_inherited() {
    let Ok(open) = fs::read_dir("/proc/self/fd") else { return };
    let numbers: Vec<i32> =
        open.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).filter(|&number| number > 2).collect();
    for number in numbers {
        // One of them was the folder's, and is closed by now.
        let _ = nix::unistd::close(number);
    }
}

/// Takes everything away that policies need not have. Threads are to be there already.
pub(crate) fn confine() -> io::Result<()> {
    // When memory ends, a worker goes before its server. May be refused.
    let _ = fs::write("/proc/self/oom_score_adj", "1000");
    let mapped = mapped_bytes().unwrap_or(MAPPED_BYTES_UNKNOWN);
    #[cfg(target_os = "linux")]
    rustix::thread::set_no_new_privs(true)?;
    limit(Resource::As, mapped.saturating_add(MEMORY_BYTES_MAX))?;
    limit(Resource::Core, 0)?;
    limit(Resource::Fsize, 0)?;
    limit(Resource::Nproc, 0)?;
    // The last, since it needs a file to read what is mapped: from here on nothing can be opened, sockets included.
    limit(Resource::Nofile, 0)
}

/// Grants the processor for one job: the system ends the process that uses more.
pub(crate) fn grant_processor(milliseconds: u64) -> io::Result<()> {
    let used = u64::try_from(clock_gettime(ClockId::ProcessCPUTime).tv_sec).unwrap_or_default();
    let until = used.saturating_add(milliseconds.div_ceil(1_000)).saturating_add(PROCESSOR_GRACE_SECONDS);
    let hard = getrlimit(Resource::Cpu).maximum;
    let until = hard.map_or(until, |hard| hard.min(until));
    Ok(setrlimit(Resource::Cpu, Rlimit { current: Some(until), maximum: hard })?)
}

fn limit(resource: Resource, most: u64) -> io::Result<()> {
    let most = getrlimit(resource).maximum.map_or(most, |hard| hard.min(most));
    Ok(setrlimit(resource, Rlimit { current: Some(most), maximum: Some(most) })?)
}

/// The address space that is taken already: code, and the stack of the thread that evaluates.
fn mapped_bytes() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let size = status.lines().find_map(|line| line.strip_prefix("VmSize:"))?;
    size.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1_024)
}
