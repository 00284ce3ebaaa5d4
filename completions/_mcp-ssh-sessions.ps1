# PowerShell completion for mcp-ssh-sessions. Nothing on the line and nothing that the program prints is evaluated.

Register-ArgumentCompleter -Native -CommandName 'mcp-ssh-sessions' -ScriptBlock {
    param($wordToComplete, $commandAst, $cursorPosition)

    $before = @(
        $commandAst.CommandElements |
            Select-Object -Skip 1 |
            Where-Object { $_.Extent.EndOffset -lt $cursorPosition } |
            ForEach-Object {
                if ($_ -is [System.Management.Automation.Language.StringConstantExpressionAst]) { $_.Value }
                else { $_.Extent.Text }
            }
    )
    $word = $wordToComplete.Trim("'", '"')
    $program = Get-Command -Name 'mcp-ssh-sessions' -CommandType Application, ExternalScript -ErrorAction SilentlyContinue |
        Select-Object -First 1
    if (-not $program) { return }
    $expected, $lines = & $program complete "--word=$word" '--' @before 2>$null

    # Without candidates, PowerShell completes the names of files.
    if ($expected -ne 'words') { return }

    foreach ($line in $lines) {
        $value, $description = $line -split "`t", 2
        if (-not $value.StartsWith($word, [System.StringComparison]::OrdinalIgnoreCase)) { continue }
        if (-not $description) { $description = $value }

        $text = $value
        if ($value -notmatch '^[A-Za-z0-9_./:%+-]+$') {
            $text = "'" + [System.Management.Automation.Language.CodeGeneration]::EscapeSingleQuotedStringContent($value) + "'"
        }
        [System.Management.Automation.CompletionResult]::new($text, $value, 'ParameterValue', $description)
    }
}
