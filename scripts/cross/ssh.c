/* The ssh.exe of a Wine that has none. Of `ssh -G … HOST` it prints what this machine's own ssh has printed before, into
   HOST.txt beside this program. */

#include <stdio.h>
#include <string.h>
#include <windows.h>

int main(int count, char **arguments)
{
    char path[MAX_PATH + 16], piece[4096];
    DWORD length = GetModuleFileNameA(NULL, path, MAX_PATH);
    FILE *file;
    size_t size;
    if (count < 3 || strcmp(arguments[1], "-G") != 0 || length == MAX_PATH)
        return 255;
    snprintf(strrchr(path, '\\') + 1, 16, "%s.txt", arguments[count - 1]);
    file = fopen(path, "rb");
    if (file == NULL)
        return 255;
    while ((size = fread(piece, 1, sizeof piece, file)) > 0)
        fwrite(piece, 1, size, stdout);
    return 0;
}
