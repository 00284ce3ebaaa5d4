sweep
rows=0
for dir in "$jobs"/[0-9a-f][0-9a-f][0-9a-f][0-9a-f][0-9a-f][0-9a-f][0-9a-f][0-9a-f]; do
  look || continue
  row
  rows=$((rows + 1))
  [ $rows -lt "$most" ] || break
done
finish
