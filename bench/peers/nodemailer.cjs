// nodemailer: a pool where a session takes several messages, each sent when the one before is through.
const fs = require("fs");
const task = JSON.parse(process.argv[2]);
const line = "What a device has to say, line by line, and every line as long as others.\r\n";
const raw = ("Subject: a scan\r\n\r\n" + line.repeat(task.size / line.length)).slice(0, task.size - 2) + "\r\n";
const [from, to, subject] = ["daemon@example.test", task.recipient, "a scan"];
const mail = task.path ? { from, to, subject, attachments: [{ path: task.path }] } : { envelope: { from, to }, raw };
const pool = { pool: true, maxConnections: task.parallel, maxMessages: task.per_session || task.count };
const transport = require("nodemailer").createTransport({
    host: "127.0.0.1",
    port: task.port,
    secure: task.security === "tls",
    requireTLS: task.security === "starttls",
    ignoreTLS: task.security === "none",
    tls: { ca: fs.readFileSync(task.ca) },
    ...(task.per_session === 1 ? {} : pool),
});
let left = task.count;
const start = process.hrtime.bigint();
Promise.all(Array.from({ length: task.parallel }, async () => {
    while (left-- > 0) await transport.sendMail(mail);
})).then(() => {
    const seconds = Number(process.hrtime.bigint() - start) / 1e9;
    const memory = /VmHWM:\s+(\d+)/.exec(fs.readFileSync("/proc/self/status", "utf8"))[1] * 1024 / 1e6;
    console.log(JSON.stringify({ seconds, memory }));
    process.exit(0);
});
