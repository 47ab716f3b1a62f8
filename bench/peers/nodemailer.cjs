// nodemailer: a pool where a session takes several messages, each sent when the one before is through.
const fs = require("fs");
const nodemailer = require("nodemailer");

const task = JSON.parse(process.argv[2]);
const [from, to] = ["daemon@example.test", task.recipient];
const line = "What a device has to say, line by line, and every line as long as others.\r\n";
const raw = (`From: ${from}\r\nTo: ${to}\r\nSubject: a scan\r\n\r\n` + line.repeat(task.size / line.length + 1))
    .slice(0, task.size - 2) + "\r\n";

async function submit() {
    const transport = nodemailer.createTransport({
        host: "127.0.0.1",
        port: task.port,
        secure: task.security === "tls",
        requireTLS: task.security === "starttls",
        ignoreTLS: task.security === "none",
        tls: { ca: fs.readFileSync(task.ca) },
        auth: task.user ? { user: task.user, pass: task.password } : undefined,
        ...(task.per_session > 1 ? { pool: true, maxConnections: task.parallel, maxMessages: task.per_session } : {}),
    });
    const mail = task.source === "file"
        ? { from, to, subject: "a scan", attachments: [{ path: task.path }] }
        : { envelope: { from, to: [to] }, raw };
    let left = task.count;
    const start = process.hrtime.bigint();
    await Promise.all(Array.from({ length: task.parallel }, async () => {
        while (left-- > 0) await transport.sendMail(mail);
    }));
    transport.close();
    return Number(process.hrtime.bigint() - start) / 1e9;
}

submit().then((seconds) => {
    const status = fs.readFileSync("/proc/self/status", "utf8");
    const memory = Number(/VmHWM:\s+(\d+)/.exec(status)[1]) * 1024 / 1e6;
    console.log(JSON.stringify({ seconds, memory, gap: null }));
    process.exit(0);
});
