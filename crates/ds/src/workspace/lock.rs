use std::{
    fs::{File, TryLockError},
    path::Path,
};

use crate::{Exit, Failure, failure::About};

/// An advisory lock. The system takes it away when the process ends, however it ends.
pub(crate) struct Lock {
    file: File,
}

impl Drop for Lock {
    /// Closing the file would do, were it not for a child that is being started this very moment and holds a copy.
    fn drop(&mut self) {
        let _ = self.file.unlock();
    }
}

impl Lock {
    /// Waits for the lock on a file that is held only for moments.
    pub(crate) fn wait_for(path: &Path) -> Result<Self, Failure> {
        let file = File::options().create(true).truncate(false).write(true).open(path).about("open", path)?;
        file.lock().about("lock", path)?;
        Ok(Self { file })
    }

    /// Takes the lock of a workspace, or says that another command holds it. Does not wait: the other command may wait for a person.
    pub(crate) fn take(metadata: &Path) -> Result<Self, Failure> {
        let path = metadata.join("lock");
        let file = File::options().create(true).truncate(false).write(true).open(&path).about("open", &path)?;
        match file.try_lock() {
            Ok(()) => Ok(Self { file }),
            Err(TryLockError::WouldBlock) => {
                Err(Failure::new("another ds command is changing this workspace; try again when it is done")
                    .exit(Exit::Conflict))
            }
            Err(TryLockError::Error(error)) => Err(error).about("lock", &path),
        }
    }
}
