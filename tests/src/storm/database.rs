//! The rows as they are, read past the program.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::Command;

/// Reads one database by the tool of its own maker.
pub enum Rows {
    Sqlite(PathBuf),
    Postgres(String),
}

impl Rows {
    pub fn sqlite(file: PathBuf) -> Self {
        Self::Sqlite(file)
    }

    pub fn postgres(url: &str) -> Self {
        Self::Postgres(url.to_owned())
    }

    /// Rows of columns as text; nulls are empty.
    pub fn query(&self, statement: &str) -> Vec<Vec<String>> {
        const READ: &str = "import sqlite3, sys\n\
            c = sqlite3.connect(f'file:{sys.argv[1]}?mode=ro', uri=True, timeout=30)\n\
            for row in c.execute(sys.argv[2]): print('|'.join('' if v is None else str(v) for v in row))";
        let mut command = match self {
            Self::Sqlite(file) => {
                let mut command = Command::new("python3");
                command.args(["-c", READ]).arg(file);
                command
            }
            Self::Postgres(url) => {
                let mut command = Command::new("psql");
                command.args(["-X", "-q", "-t", "-A", "-v", "ON_ERROR_STOP=1", "-d", url, "-c"]);
                command
            }
        };
        let done = command.arg(statement).output().unwrap();
        assert!(done.status.success(), "{statement}: {}", String::from_utf8_lossy(&done.stderr));
        let text = String::from_utf8(done.stdout).unwrap();
        text.lines().map(|line| line.split('|').map(str::to_owned).collect()).collect()
    }

    pub fn number(&self, statement: &str) -> i64 {
        self.query(statement)[0][0].parse().unwrap()
    }

    pub fn unfinished(&self) -> i64 {
        self.number(&format!("SELECT count(*) FROM jobs WHERE {UNFINISHED}"))
    }

    /// The jobs that a process runs, as the rows say, with their epochs.
    pub fn running_in(&self, process: u32) -> Vec<(String, i64)> {
        let id = self.id("id");
        let statement = format!(
            "SELECT {id}, lease_epoch FROM jobs WHERE state = 'running' AND lease_owner LIKE '%-{process}-%'"
        );
        self.query(&statement).into_iter().map(|row| (row[0].clone(), row[1].parse().unwrap())).collect()
    }

    /// Who holds which lease, by job and epoch.
    pub fn leases(&self) -> Vec<((String, i64), String)> {
        let id = self.id("id");
        let statement = format!("SELECT {id}, lease_epoch, lease_owner FROM jobs WHERE state = 'running'");
        let lease = |row: Vec<String>| ((row[0].clone(), row[1].parse().unwrap()), row[2].clone());
        self.query(&statement).into_iter().map(lease).collect()
    }

    /// Says that a process has lost what it holds: the leases of its jobs and its duties are over, as if their time were.
    ///
    /// # Panics
    /// On SQLite, where nobody else could take them.
    pub fn end_holds_of(&self, process: u32) {
        assert!(matches!(self, Self::Postgres(_)));
        for (table, holder, until) in
            [("jobs", "lease_owner", "lease_until"), ("duties", "holder", "held_until")]
        {
            self.query(&format!(
                "UPDATE {table} SET {until} = now() - interval '1 second' WHERE {holder} LIKE '%-{process}-%'"
            ));
        }
    }

    /// Those of these jobs that nobody has taken over since the epoch.
    pub fn still_at<'a>(&self, orphans: impl Iterator<Item = (&'a str, i64)>) -> BTreeSet<String> {
        let id = self.id("id");
        let which: Vec<String> =
            orphans.map(|(job, epoch)| format!("({id} = '{job}' AND lease_epoch = {epoch})")).collect();
        let statement = format!("SELECT {id} FROM jobs WHERE {UNFINISHED} AND ({})", which.join(" OR "));
        self.query(&statement).into_iter().map(|row| row[0].clone()).collect()
    }

    /// An id as the API writes it; SQLite keeps the bytes.
    pub fn id(&self, column: &str) -> String {
        match self {
            Self::Postgres(_) => format!("{column}::text"),
            Self::Sqlite(_) => {
                let hex = format!("lower(hex({column}))");
                let part = |from: u32, length: u32| format!("substr({hex}, {from}, {length})");
                [part(1, 8), part(9, 4), part(13, 4), part(17, 4), part(21, 12)].join(" || '-' || ")
            }
        }
    }
}

const UNFINISHED: &str = "state IN ('waiting', 'queued', 'running') AND kind = 'extract-audio'";
