//! Loading and attaching: a `Plan` says which object, which programs it can do without and which maps
//! it shares; a `Module` is what came of it. One module per source, whatever number of directives use it.

use std::fmt;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::PathBuf;
use std::time::Instant;

use libbpf_rs::{Link, MapCore, MapHandle, Object, ObjectBuilder, OpenObject, ProgramType};

use super::abi;
use super::features;
use super::iter::Walk;
use super::ring::{RingBuffer, Rings};

/// What to load.
pub struct Plan {
    /// The source: `module` of the bpf_* metrics.
    pub module: &'static str,
    pub object: &'static [u8],
    /// Tried in order; the first that loads is used.
    pub variants: &'static [Variant],
    /// Maps that all modules share, by name.
    pub shared: &'static [&'static str],
    /// Programs that only kernels from this version on need.
    pub since: &'static [(&'static str, (u32, u32))],
}

/// One way of hooking the same thing.
pub struct Variant {
    /// What it does, for `tawon doctor` and the log.
    pub name: &'static str,
    /// Programs that are left out, in groups.
    pub without: &'static [&'static [&'static str]],
    /// Programs whose attach may fail, with what is missed then, in groups.
    pub optional: &'static [&'static [(&'static str, &'static str)]],
    /// What this way does not see; empty for the best.
    pub misses: &'static str,
}

/// How records are to come, and how many entries maps have.
#[derive(Clone)]
pub struct Sizes {
    /// Of each CPU's perf ring; a power of two.
    pub pages: u32,
    /// Records that wait before the loop is woken.
    pub wakeup: u32,
    /// Force one kind of ring; None tries perf rings first.
    pub ring_buffer: Option<bool>,
    /// Map name to number of entries.
    pub entries: Vec<(&'static str, u32)>,
}

/// Descriptors of the maps that modules share; filled by the first that is loaded.
#[derive(Default)]
pub struct Shared(Vec<(String, OwnedFd)>);

/// A source's programs, loaded and attached.
pub struct Module {
    pub name: &'static str,
    pub variant: &'static Variant,
    pub rings: Rings,
    /// Attached programs; dropping one detaches it.
    links: Vec<(String, Link)>,
    /// Programs that could not be attached, with the reason.
    pub unattached: Vec<(String, String)>,
    /// Kept until its links are gone.
    object: Object,
}

/// What went wrong on the way, each step with its own words.
#[derive(Debug)]
pub struct Error {
    pub step: String,
    pub cause: String,
    /// Attach attempts that failed, by program, for bpf_probes_attach_failure.
    pub programs: Vec<String>,
    /// Whether privileges or the kernel forbid it, so that trying again is of no use before they change.
    pub forbidden: bool,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.step, self.cause)
    }
}

impl std::error::Error for Error {}

impl Module {
    /// Loads and attaches. Blocks for up to some hundred milliseconds.
    pub fn load(plan: &Plan, sizes: &Sizes, shared: &mut Shared) -> Result<Module, Error> {
        let ring_buffer = match sizes.ring_buffer {
            Some(forced) => forced,
            None => perf_refused(),
        };
        let (mut last, mut unattached) = (None, None);
        for variant in plan.variants {
            let begun = Instant::now();
            match load_variant(plan, variant, sizes, shared, ring_buffer) {
                Ok(object) => {
                    log::debug!(
                        "programs loaded module={} variant={:?} ms={}",
                        plan.module,
                        variant.name,
                        begun.elapsed().as_millis()
                    );
                    match attach(plan, variant, object, sizes, ring_buffer) {
                        Ok(module) => return Ok(module),
                        Err(error) => {
                            log::debug!(
                                "variant is not attached module={} variant={:?} error={error}",
                                plan.module,
                                variant.name
                            );
                            unattached = Some(error);
                        }
                    }
                }
                Err(error) => {
                    log::debug!(
                        "variant does not load module={} variant={:?} error={error}",
                        plan.module,
                        variant.name
                    );
                    last = Some(error);
                }
            }
        }
        // It came further than those that did not load.
        if let Some(error) = unattached {
            return Err(error);
        }
        let mut error = last.map_or_else(|| "no variant".to_owned(), |error| error.to_string());
        let obstacles = features::Features::read().obstacles();
        if obstacles.is_empty() {
            error += "; tawon doctor tells more";
        } else {
            error = format!("{error}; {}", obstacles.join("; "));
        }
        Err(Error {
            step: format!("load the programs of {}", plan.module),
            forbidden: true,
            cause: error,
            programs: Vec::new(),
        })
    }

    /// A map of the module, by name.
    pub fn map(&self, name: &str) -> Option<MapHandle> {
        let map = self.object.maps().find(|map| map.name() == name)?;
        MapHandle::try_from(&map).ok()
    }

    /// Sets what programs may be told while they run.
    pub fn set_live(&self, live: &abi::Live) -> Result<(), String> {
        let map = self.map(".data.live").ok_or("no live map")?;
        map.update(&0u32.to_ne_bytes(), abi::bytes(live), libbpf_rs::MapFlags::ANY).map_err(|error| error.to_string())
    }

    /// Names and descriptors of the loaded programs.
    pub fn programs(&self) -> Vec<(String, std::os::fd::RawFd)> {
        self.object
            .progs()
            .filter(|program| program.autoload())
            .map(|program| (program.name().to_string_lossy().into_owned(), program.as_fd().as_raw_fd()))
            .collect()
    }

    /// Programs with a link now.
    pub fn attached(&self) -> impl Iterator<Item = &str> {
        self.links.iter().map(|(name, _)| name.as_str())
    }

    /// An iterator program of the module; `map` is what it walks over, where it walks over one. None
    /// where this variant goes without it.
    pub fn walk(&self, program: &str, map: Option<&str>) -> Option<Walk> {
        let program = self.object.progs().find(|candidate| candidate.name() == program && candidate.autoload())?;
        let map = match map {
            Some(name) => Some(self.object.maps().find(|map| map.name() == name)?.as_fd().try_clone_to_owned().ok()?),
            None => None,
        };
        Some(Walk { program: program.as_fd().try_clone_to_owned().ok()?, map })
    }

    /// What this way of hooking does not see, one sentence each.
    pub fn missed(&self) -> Vec<String> {
        let variant = Some(self.variant.misses).filter(|misses| !misses.is_empty());
        let is_unattached = |program: &str| self.unattached.iter().any(|(unattached, _)| unattached == program);
        let optional = self.variant.optional.iter().copied().flatten().filter(|(program, _)| is_unattached(program));
        variant.into_iter().chain(optional.map(|(_, misses)| *misses)).map(str::to_owned).collect()
    }

    /// The links, to be dropped where blocking does no harm: a perf-based hook takes 50-100 ms.
    pub fn take_links(&mut self) -> Links {
        Links(std::mem::take(&mut self.links))
    }
}

/// Attached programs; dropping one detaches it.
pub struct Links(Vec<(String, Link)>);

impl Links {
    /// Detaches everything; says which programs failed to.
    pub fn detach(self) -> Vec<String> {
        let mut failed = Vec::new();
        for (name, link) in self.0 {
            // Tracepoints' perf events have no detach: closing is theirs.
            if let Err(error) = link.detach()
                && !matches!(error.kind(), libbpf_rs::ErrorKind::InvalidInput | libbpf_rs::ErrorKind::Unsupported)
            {
                log::debug!("detach failed program={name} error={error}");
                failed.push(name);
            }
        }
        failed
    }
}

fn load_variant(
    plan: &Plan,
    variant: &Variant,
    sizes: &Sizes,
    shared: &mut Shared,
    ring_buffer: bool,
) -> Result<Object, libbpf_rs::Error> {
    let mut open: OpenObject = ObjectBuilder::default().name(plan.module)?.open_memory(plan.object)?;
    let release = features::release();
    let config = abi::Config {
        ring_buffer: u32::from(ring_buffer),
        wakeup_bytes: 64 * sizes.wakeup,
        agent: std::process::id(),
        preemptible: u32::from(release >= features::PREEMPTIBLE),
    };
    for mut map in open.maps_mut() {
        let name = map.name().to_string_lossy().into_owned();
        if let Some((_, fd)) = shared.0.iter().find(|(shared, _)| *shared == name) {
            map.reuse_fd(fd.as_fd())?;
            continue;
        }
        if let Some((_, entries)) = sizes.entries.iter().find(|(sized, _)| *sized == name) {
            map.set_max_entries(*entries)?;
        }
        match name.as_str() {
            ".rodata.config" => map.set_initial_value(abi::bytes(&config))?,
            "tawon_ring" if ring_buffer => map.set_max_entries(ring_bytes(sizes))?,
            "tawon_ring" => map.set_autocreate(false)?,
            "tawon_events" if ring_buffer => map.set_autocreate(false)?,
            _ => {}
        }
    }
    for mut program in open.progs_mut() {
        let name = program.name().to_string_lossy().into_owned();
        let later = plan.since.iter().any(|(program, since)| *program == name && release < *since);
        if later || variant.without.iter().any(|group| group.contains(&name.as_str())) {
            program.set_autoload(false);
        }
    }
    let object = open.load()?;
    for map in object.maps() {
        let name = map.name().to_string_lossy().into_owned();
        if plan.shared.contains(&name.as_str()) && !shared.0.iter().any(|(shared, _)| *shared == name) {
            shared.0.push((name, map.as_fd().try_clone_to_owned()?));
        }
    }
    Ok(object)
}

fn attach(
    plan: &Plan,
    variant: &'static Variant,
    object: Object,
    sizes: &Sizes,
    ring_buffer: bool,
) -> Result<Module, Error> {
    let rings = open_rings(&object, sizes, ring_buffer).map_err(|cause| Error {
        step: format!("open the rings of {}", plan.module),
        forbidden: true,
        cause,
        programs: Vec::new(),
    })?;
    let mut module = Module { name: plan.module, variant, rings, links: Vec::new(), unattached: Vec::new(), object };
    let cgroup = unified_cgroup().and_then(|path| std::fs::File::open(path).ok());
    let mut required = None;
    for program in module.object.progs_mut().filter(|program| program.autoload()) {
        let name = program.name().to_string_lossy().into_owned();
        let section = program.section().to_string_lossy().into_owned();
        let linked = if section.starts_with("iter/") {
            continue;
        } else if matches!(program.prog_type(), ProgramType::CgroupSkb | ProgramType::CgroupSock) {
            match &cgroup {
                Some(cgroup) => program.attach_cgroup(cgroup.as_raw_fd()).map_err(|error| error.to_string()),
                None => Err("no cgroup version 2 hierarchy is mounted".to_owned()),
            }
        } else {
            program.attach().map_err(|error| error.to_string())
        };
        match linked {
            Ok(link) => module.links.push((name, link)),
            Err(error) => {
                if !variant.optional.iter().copied().flatten().any(|(optional, _)| *optional == name) {
                    required.get_or_insert_with(|| (section, error.clone()));
                }
                module.unattached.push((name, error));
            }
        }
    }
    match required {
        None => Ok(module),
        Some((section, cause)) => {
            let programs = module.unattached.iter().map(|(name, _)| name.clone()).collect();
            module.take_links().detach();
            Err(Error { step: format!("attach {section} of {}", plan.module), cause, programs, forbidden: true })
        }
    }
}

fn open_rings(object: &Object, sizes: &Sizes, ring_buffer: bool) -> Result<Rings, String> {
    let name = if ring_buffer { "tawon_ring" } else { "tawon_events" };
    let map = object.maps().find(|map| map.name() == name).ok_or("the object has no ring")?;
    if ring_buffer {
        let fd = map.as_fd().try_clone_to_owned().map_err(|error| error.to_string())?;
        return RingBuffer::open(fd, ring_bytes(sizes) as usize)
            .map(|ring| Rings::Buffer(Box::new(ring)))
            .map_err(|error| error.to_string());
    }
    let rings = Rings::perf(sizes.pages, sizes.wakeup).map_err(|error| format!("perf_event_open: {error}"))?;
    if let Rings::Perf(rings) = &rings {
        for ring in rings {
            let (key, value) = (ring.cpu.to_ne_bytes(), ring.descriptor().as_raw_fd().to_ne_bytes());
            map.update(&key, &value, libbpf_rs::MapFlags::ANY).map_err(|error| error.to_string())?;
        }
    }
    Ok(rings)
}

/// As much as the perf rings would have had together.
fn ring_bytes(sizes: &Sizes) -> u32 {
    let cpus = super::syscalls::cpus().map_or(1, |(_, online)| online.len() as u32);
    sizes.pages.saturating_mul(4096).saturating_mul(cpus).next_power_of_two()
}

/// Whether perf_event_open is refused to us, as with perf_event_paranoid 3 without SYS_ADMIN.
fn perf_refused() -> bool {
    super::syscalls::open_bpf_output(0, 1)
        .is_err_and(|error| matches!(error.raw_os_error(), Some(libc::EPERM | libc::EACCES)))
}

/// Where the unified cgroup hierarchy is mounted.
pub fn unified_cgroup() -> Option<PathBuf> {
    let mounts = std::fs::read_to_string("/proc/self/mounts").ok()?;
    mounts.lines().find_map(|line| {
        let mut words = line.split(' ');
        let (_, at, kind) = (words.next()?, words.next()?, words.next()?);
        (kind == "cgroup2").then(|| PathBuf::from(at))
    })
}
