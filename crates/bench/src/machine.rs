//! What the figures were measured on, and the memory of a process.

use std::fs;

use anyhow::{Context, Result};

/// The peak memory of a process, as the kernel keeps it.
pub(crate) struct Memory {
    pid: u32,
    /// The highest peak before the last restart, in KiB.
    before: u64,
}

impl Memory {
    pub(crate) fn new(pid: u32) -> Self {
        Self { pid, before: 0 }
    }

    fn field(&self, name: &str) -> Result<u64> {
        let path = format!("/proc/{}/status", self.pid);
        let status = fs::read_to_string(&path).with_context(|| format!("{path}: the server is not there"))?;
        status
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(':')?.trim().strip_suffix(" kB")?.parse().ok())
            .with_context(|| format!("{path} has no {name}"))
    }

    /// The peak since the last restart, in KiB.
    pub(crate) fn peak(&self) -> Result<u64> {
        self.field("VmHWM")
    }

    /// The peak over everything, in KiB.
    pub(crate) fn peak_of_all(&self) -> Result<u64> {
        Ok(self.peak()?.max(self.before))
    }

    /// Forgets the peak and says what the process has now, in KiB.
    pub(crate) fn restart(&mut self) -> Result<u64> {
        self.before = self.peak_of_all()?;
        // proc(5): 5 resets the peak to what is resident now.
        fs::write(format!("/proc/{}/clear_refs", self.pid), "5").context("cannot reset the server's peak memory")?;
        self.field("VmRSS")
    }
}

fn first_line_after(path: &str, key: &str) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    text.lines().find_map(|line| Some(line.strip_prefix(key)?.trim().trim_start_matches(':').trim().to_owned()))
}

/// The machine in one sentence.
pub(crate) fn describe() -> String {
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let model = first_line_after("/proc/cpuinfo", "model name").unwrap_or_else(|| "unknown processor".to_owned());
    let memory = first_line_after("/proc/meminfo", "MemTotal")
        .and_then(|text| text.trim_end_matches(" kB").parse::<f64>().ok())
        .map_or_else(|| "unknown memory".to_owned(), |kibibytes| format!("{:.0} GiB", kibibytes / 1024.0 / 1024.0));
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    format!("{cores} cores ({model}), {memory}, Linux {}", kernel.trim())
}

/// How busy the machine was before the run.
pub(crate) fn load() -> String {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').next().unwrap_or_default().to_owned()
}
