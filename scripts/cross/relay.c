/* A ProxyCommand for Windows: `relay ADDRESS PORT` joins stdin and stdout with a TCP connection, until either ends. */

#include <winsock2.h>

#include <stdlib.h>
#include <windows.h>

static DWORD WINAPI send_input(void *connection)
{
    char piece[4096];
    DWORD length;
    while (ReadFile(GetStdHandle(STD_INPUT_HANDLE), piece, sizeof piece, &length, NULL) && length > 0)
        if (send(*(SOCKET *)connection, piece, (int)length, 0) != (int)length)
            break;
    exit(0);
}

int main(int count, char **arguments)
{
    WSADATA data;
    SOCKET connection;
    struct sockaddr_in address = { .sin_family = AF_INET };
    char piece[4096];
    int length;
    DWORD written;
    if (count != 3 || WSAStartup(MAKEWORD(2, 2), &data) != 0)
        return 1;
    address.sin_addr.s_addr = inet_addr(arguments[1]);
    address.sin_port = htons((u_short)atoi(arguments[2]));
    connection = socket(AF_INET, SOCK_STREAM, 0);
    if (connect(connection, (struct sockaddr *)&address, sizeof address) != 0)
        return 1;
    CreateThread(NULL, 0, send_input, &connection, 0, NULL);
    while ((length = recv(connection, piece, sizeof piece, 0)) > 0)
        if (!WriteFile(GetStdHandle(STD_OUTPUT_HANDLE), piece, (DWORD)length, &written, NULL))
            break;
    return 0;
}
