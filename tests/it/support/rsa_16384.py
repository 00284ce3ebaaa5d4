"""Writes a private RSA key of 16,384 bits to FILE, at once: its primes are the two of 8,192 bits that everybody knows (RFC
3526, group 18, and RFC 7919, ffdhe8192), for which no search is needed. The key is no secret."""

import base64
import os
import subprocess
import sys


def prime(group):
    command = ['openssl', 'genpkey', '-genparam', '-algorithm', 'DH', '-pkeyopt', f'group:{group}']
    pem = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    der = base64.b64decode(''.join(pem.splitlines()[1:-1]))
    # The first integer of 1,024 bytes and a zero before them.
    start = der.index(b'\x02\x82\x04\x01\x00') + 5
    return int.from_bytes(der[start : start + 1024])


def encoded(tag, content):
    size = len(content)
    length = bytes([size]) if size < 128 else bytes([0x80 + (size.bit_length() + 7) // 8]) + size.to_bytes((size.bit_length() + 7) // 8)
    return bytes([tag]) + length + content


def integer(number):
    return encoded(2, number.to_bytes(number.bit_length() // 8 + 1))


p, q, e = prime('ffdhe8192'), prime('modp_8192'), 65537
d = pow(e, -1, (p - 1) * (q - 1))
# RFC 8017, appendix A.1.2.
numbers = [0, p * q, e, d, p, q, d % (p - 1), d % (q - 1), pow(q, -1, p)]
text = base64.encodebytes(encoded(0x30, b''.join(map(integer, numbers)))).decode()
with open(os.open(sys.argv[1], os.O_CREAT | os.O_WRONLY, 0o600), 'w') as file:
    file.write(f'-----BEGIN RSA PRIVATE KEY-----\n{text}-----END RSA PRIVATE KEY-----\n')
