/* Rust's standard library takes its random numbers from bcryptprimitives.dll, a file that Wine before 9 does not have.
   Beside the program, this stands in for it. */

#include <windows.h>

/* RtlGenRandom, which advapi32 exports under this name alone. */
BOOLEAN NTAPI SystemFunction036(PVOID buffer, ULONG length);

__declspec(dllexport) BOOL WINAPI ProcessPrng(PBYTE buffer, SIZE_T length)
{
    while (length > 0) {
        ULONG piece = length > 0x10000000 ? 0x10000000 : (ULONG)length;
        if (!SystemFunction036(buffer, piece))
            return FALSE;
        buffer += piece;
        length -= piece;
    }
    return TRUE;
}
