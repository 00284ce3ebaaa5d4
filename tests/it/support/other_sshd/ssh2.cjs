// An SSH server on ssh2, for SFTP alone, whose handlers are asynchronous, as fs is: each request begins when it comes, and
// ends when it will. PORT HOST_KEY AUTHORIZED_KEYS HOME [MODULE], with ssh2 in NODE_PATH. The module has a function, to
// which each session is given.

const fs = require('node:fs');
const { Server, utils } = require('ssh2');

const [port, hostKey, authorizedKeys, home, sessions] = process.argv.slice(2);
const more = sessions ? require(sessions) : () => {};
const { OPEN_MODE, STATUS_CODE, flagsToString } = utils.sftp;
process.chdir(home);
const allowed = utils.parseKey(fs.readFileSync(authorizedKeys));

/** A time that differs from request to request and is the same in each run. */
let seed = 1;
function pause() {
  seed = (seed * 48271) % 2147483647;
  return new Promise((resolve) => setTimeout(resolve, seed % 5));
}

const codes = { ENOENT: STATUS_CODE.NO_SUCH_FILE, EACCES: STATUS_CODE.PERMISSION_DENIED, EPERM: STATUS_CODE.PERMISSION_DENIED };

function attributes({ mode, uid, gid, size, atimeMs, mtimeMs }) {
  return { mode, uid, gid, size, atime: Math.floor(atimeMs / 1000), mtime: Math.floor(mtimeMs / 1000) };
}

async function set(path, { mode, atime, mtime }) {
  if (mode !== undefined) await fs.promises.chmod(path, mode & 0o7777);
  if (mtime !== undefined) await fs.promises.utimes(path, atime, mtime);
}

function serve(sftp) {
  // Else the client waits for the end of its channel.
  sftp.on('end', () => sftp.end());
  const files = new Map();
  let last = 0;
  const keep = (id, entry) => {
    const handle = Buffer.alloc(4);
    handle.writeUInt32BE(++last);
    files.set(last, entry);
    sftp.handle(id, handle);
  };
  const entry = (handle) => files.get(handle.readUInt32BE(0)) ?? Promise.reject(new Error('no such handle'));
  const done = (id) => sftp.status(id, STATUS_CODE.OK);
  const requests = {
    async OPEN(id, path, flags, { mode }) {
      keep(id, { path, file: await fs.promises.open(path, flagsToString(flags), mode ?? 0o666) });
    },
    async CLOSE(id, handle) {
      const { file } = await entry(handle);
      files.delete(handle.readUInt32BE(0));
      await file?.close();
      done(id);
    },
    async READ(id, handle, offset, length) {
      const { file } = await entry(handle);
      const { bytesRead, buffer } = await file.read(Buffer.alloc(length), 0, length, offset);
      if (bytesRead === 0) sftp.status(id, STATUS_CODE.EOF);
      else sftp.data(id, buffer.subarray(0, bytesRead));
    },
    async WRITE(id, handle, offset, data) {
      const { file } = await entry(handle);
      await file.write(data, 0, data.length, offset);
      done(id);
    },
    FSTAT: async (id, handle) => sftp.attrs(id, attributes(await (await entry(handle)).file.stat())),
    STAT: async (id, path) => sftp.attrs(id, attributes(await fs.promises.stat(path))),
    LSTAT: async (id, path) => sftp.attrs(id, attributes(await fs.promises.lstat(path))),
    SETSTAT: async (id, path, to) => set(path, to).then(() => done(id)),
    FSETSTAT: async (id, handle, to) => set((await entry(handle)).path, to).then(() => done(id)),
    async OPENDIR(id, path) {
      await fs.promises.readdir(path);
      keep(id, { path });
    },
    async READDIR(id, handle) {
      const folder = await entry(handle);
      if (folder.read) return sftp.status(id, STATUS_CODE.EOF);
      const names = await fs.promises.readdir(folder.path);
      const found = await Promise.all(
        names.map(async (filename) => {
          const attrs = attributes(await fs.promises.lstat(`${folder.path}/${filename}`));
          return { filename, longname: filename, attrs };
        }),
      );
      folder.read = true;
      if (found.length === 0) sftp.status(id, STATUS_CODE.EOF);
      else sftp.name(id, found);
    },
    REMOVE: async (id, path) => fs.promises.unlink(path).then(() => done(id)),
    RMDIR: async (id, path) => fs.promises.rmdir(path).then(() => done(id)),
    MKDIR: async (id, path, { mode }) => fs.promises.mkdir(path, mode ?? 0o777).then(() => done(id)),
    RENAME: async (id, from, to) => fs.promises.rename(from, to).then(() => done(id)),
    SYMLINK: async (id, link, target) => fs.promises.symlink(target, link).then(() => done(id)),
    async REALPATH(id, path) {
      const real = await fs.promises.realpath(path).catch(() => require('node:path').resolve(path));
      sftp.name(id, [{ filename: real, longname: real, attrs: {} }]);
    },
    async READLINK(id, path) {
      const target = await fs.promises.readlink(path);
      sftp.name(id, [{ filename: target, longname: target, attrs: {} }]);
    },
  };
  for (const [name, answer] of Object.entries(requests)) {
    sftp.on(name, async (id, ...rest) => {
      try {
        await pause();
        await answer(id, ...rest);
      } catch (error) {
        sftp.status(id, codes[error.code] ?? STATUS_CODE.FAILURE, error.message);
      }
    });
  }
}

new Server({ hostKeys: [fs.readFileSync(hostKey)] }, (client) => {
  client.on('authentication', (asked) => {
    const known = asked.method === 'publickey' && asked.key.data.equals(allowed.getPublicSSH());
    if (!known) return asked.reject(['publickey']);
    if (asked.signature && !allowed.verify(asked.blob, asked.signature, asked.hashAlgo)) return asked.reject();
    asked.accept();
  });
  client.on('ready', () => client.on('session', (accept) => more(accept().on('sftp', (begin) => serve(begin())))));
  client.on('error', () => {});
}).listen(Number(port), '127.0.0.1');
