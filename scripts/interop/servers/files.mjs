// Servers for files.

import { execFileSync } from 'node:child_process';
import { chmodSync, existsSync, readFileSync, writeFileSync } from 'node:fs';
import { needAll, needProgram } from '../../lib/programs.mjs';
import { USER } from '../stage.mjs';
import { startSshd } from './openssh.mjs';

const elsewhere = 'elsewhere the packages have similar names';

const proftpd = {
  name: "proftpd's mod_sftp",
  async start(stage) {
    const program = needProgram('proftpd', 'proftpd-core');
    const module = '/usr/lib/proftpd/mod_sftp.so';
    needAll([{ name: 'mod_sftp', debianPackage: 'proftpd-mod-crypto', isThere: () => existsSync(module) }], elsewhere);
    stage.makeKey('rsa_key', 'rsa');
    const account = readFileSync(stage.file('passwd'), 'utf8').trimEnd().split('\n').at(-1);
    writeFileSync(stage.file('accounts'), `${account.replace(':x:', ':!:')}\n`, { mode: 0o600 });
    const key = execFileSync('ssh-keygen', ['-e', '-m', 'RFC4716', '-f', stage.file('id.pub')], { encoding: 'utf8' });
    writeFileSync(stage.file('authorized'), `${key.trim()}\n`);
    const config = (port) => [
      'LoadModule mod_sftp.c',
      'ServerType standalone',
      'DefaultAddress 127.0.0.1',
      `Port ${port}`,
      'SocketBindTight on',
      `User ${USER}`,
      `Group ${USER}`,
      'UseFtpUsers off',
      'RequireValidShell off',
      'AuthOrder mod_auth_file.c',
      `AuthUserFile ${stage.file('accounts')}`,
      `PidFile ${stage.file('pid')}`,
      `ScoreboardFile ${stage.file('scoreboard')}`,
      'DelayTable none',
      'UseReverseDNS off',
      'WtmpLog off',
      'TransferLog none',
      `SystemLog ${stage.file('log')}`,
      'SFTPEngine on',
      `SFTPHostKey ${stage.file('rsa_key')}`,
      `SFTPAuthorizedUserKeys file:${stage.file('authorized')}`,
      'AllowOverwrite on',
      'AllowStoreRestart on',
    ];
    const file = stage.file('proftpd.conf');
    const command = (port) => {
      writeFileSync(file, `${config(port).join('\n')}\n`);
      return [program, '--nodaemon', '-q', '-c', file];
    };
    // Its root is the home.
    chmodSync(stage.folder, 0o711);
    await stage.start(command, { hostKey: readFileSync(stage.file('rsa_key.pub'), 'utf8') });
  },
};

const gesftpserver = {
  name: 'gesftpserver',
  async start(stage) {
    const program = '/usr/libexec/gesftpserver';
    needAll([{ name: 'gesftpserver', debianPackage: 'gesftpserver', isThere: () => existsSync(program) }], elsewhere);
    await startSshd(stage, [], program);
  },
};

export const files = [proftpd, gesftpserver];
